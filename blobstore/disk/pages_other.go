//go:build !linux

package disk

// dropPages is a wish that only Linux grants.
func dropPages(File) {}
