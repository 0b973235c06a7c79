package disk

import "syscall"

// rotNumbers are what file systems answer whose own check sums do not match, beside EIO.
func rotNumbers() []error { return []error{syscall.ENODATA, syscall.EBADMSG, syscall.EUCLEAN} }
