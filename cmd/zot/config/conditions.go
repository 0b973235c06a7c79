package config

import (
	"github.com/seed-16d79997/zot/auth/access"
	"github.com/seed-16d79997/zot/auth/condition"
)

// readConditions reads what must be true for a policy to grant anything.
func readConditions(s *section) (all []access.Condition) {
	s.sections("conditions", func(s *section) {
		var c access.Condition
		s.text("expression", &c.Expression)
		s.text("message", &c.Message)
		all = append(all, c)
		compiler, err := condition.NewCompiler()
		if err == nil {
			_, err = compiler.Condition(c.Expression)
		}
		if err != nil {
			s.problem(s.key("expression"), `write it in CEL, as "req.tag.startsWith('dev-')"; docs/access.md says what there is to ask`, "%v", err)
		}
	})
	return all
}

// MetricsAccess says who may read the metrics.
type MetricsAccess struct {
	Users     []string
	Anonymous bool // everybody
}

func readMetricsAccess(s *section, c *Auth) {
	m := &MetricsAccess{}
	c.Metrics = m
	s.list("users", &m.Users)
	m.Anonymous = s.actions("anonymousPolicy")&access.Read != 0
	s.note(s.path, "is read, and not acted on yet: there is no endpoint of metrics")
}
