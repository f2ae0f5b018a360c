"""Making a clean set noisy, in known numbers: the step `inject`."""
