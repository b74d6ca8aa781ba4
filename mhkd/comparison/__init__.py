"""Every method and ablation of the paper's Tables I to VI, trained, scored and compared."""
