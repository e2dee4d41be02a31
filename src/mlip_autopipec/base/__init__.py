"""What every room shares: values, files, errors, child processes."""
