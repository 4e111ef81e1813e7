"""Style as a distribution: Gram matrices of VGG19 features, draws from it, pictures made to fit them (E Sec. 3.2.2)."""
