package htpasswd

// Remembers reports whether a password would not be hashed again.
func (f *File) Remembers(name, password string) bool {
	return f.remembers(f.keyOf(name, f.current.Load().texts[name], password))
}
