package config

import (
	"net/url"
	"strings"
)

// AnyOrigin stands for the pages of every site.
const AnyOrigin = "*"

// readOrigins reads the sites whose pages may use the registry, between commas.
func readOrigins(s *section, origins *[]string) {
	text := ""
	s.text("allowOrigin", &text)
	for one := range strings.SplitSeq(text, ",") {
		one = strings.TrimSuffix(strings.TrimSpace(one), "/") // as people copy it
		switch u, err := url.Parse(one); {
		case one == "":
			continue
		case one == AnyOrigin:
		case err != nil, u.Scheme == "", u.Host == "", u.Scheme+"://"+u.Host != one:
			s.note(s.key("allowOrigin"), `%q is no origin, and matches none; write it as "https://ui.example"`, withoutAccount(one))
		}
		*origins = append(*origins, strings.ToLower(one))
	}
}
