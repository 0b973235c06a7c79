package bearer

// goOn has a new Verifier know what a former one knows of keys that it has from the same place: they may not be to be had now.
func (v *Verifier) goOn(former *Verifier) {
	if former == nil {
		return
	}
	s, is := v.keys.(*secretKeys)
	if before, was := former.keys.(*secretKeys); is && was {
		s.goOn(before)
	}
	for _, i := range v.issuers {
		for _, before := range former.issuers {
			if i.isAt(before) {
				i.goOn(before)
				break
			}
		}
	}
}

// goOn takes over the keys of the same secret. Nobody uses s yet.
func (s *secretKeys) goOn(before *secretKeys) {
	if s.config.Region != before.config.Region || s.config.Name != before.config.Name {
		return
	}
	before.mu.Lock()
	defer before.mu.Unlock()
	s.keys, s.since, s.failed, s.slips = before.keys, before.since, before.failed, before.slips
	if before.asking == nil { // else what it asks for will not be told here
		s.asked = before.asked
	}
}

// isAt reports whether what is found out of one issuer holds for another.
func (i *issuer) isAt(other *issuer) bool {
	a, b := i.config, other.config
	return a.URL == b.URL && a.CA == b.CA && a.CAFile == b.CAFile && a.AnyIssuer == b.AnyIssuer
}

// goOn takes over where an issuer's keys are and which. Nobody uses i yet. It waits while the issuer is asked. If the CA is
// another meanwhile, nothing is taken over.
func (i *issuer) goOn(before *issuer) {
	before.mu.Lock()
	defer before.mu.Unlock()
	if c := before.of; c != nil && string(c.ca) == string(i.client.Load().ca) {
		i.client.Store(c)
		i.verifier, i.of, i.since = before.verifier, c, before.since
	}
}
