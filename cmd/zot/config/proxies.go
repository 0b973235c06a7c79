package config

import (
	"fmt"
	"net/netip"
)

// readProxies reads addresses and networks.
func readProxies(s *section, c *Cluster) {
	var all []string
	s.list("trustedProxies", &all)
	for i, text := range all {
		p, err := netip.ParsePrefix(text)
		if one, alone := netip.ParseAddr(text); alone == nil {
			p, err = one.Prefix(one.BitLen())
		}
		if err != nil {
			s.problem(fmt.Sprintf("%s[%d]", s.key("trustedProxies"), i), `write it as "10.0.0.7" or "10.0.0.0/24"`, "%q is neither address nor network", text)
			continue
		}
		c.TrustedProxies = append(c.TrustedProxies, p.Masked())
	}
}
