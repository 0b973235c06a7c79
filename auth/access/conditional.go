package access

import (
	"fmt"
	"slices"

	"github.com/seed-16d79997/zot/auth/condition"
)

// Condition must be true of a request for its policy to grant anything.
type Condition struct {
	Expression string // in CEL, see auth/condition
	Message    string // tells who is denied by it why; may be ""
}

// conditional is a Policy with conditions.
type conditional struct {
	users, groups []string
	actions       Action
	conditions    []*condition.Condition
	messages      []string // one for each
}

// expressions compiles conditions, each text once.
type expressions struct {
	compiler *condition.Compiler
	ready    map[string]*condition.Condition
}

func (x *expressions) conditional(p Policy) (conditional, error) {
	c := conditional{users: p.Users, groups: p.Groups, actions: p.Actions}
	for i, one := range p.Conditions {
		ready, err := x.condition(one.Expression)
		if err != nil {
			return c, fmt.Errorf("condition %d: %w", i, err)
		}
		c.conditions, c.messages = append(c.conditions, ready), append(c.messages, one.Message)
	}
	return c, nil
}

func (x *expressions) condition(text string) (*condition.Condition, error) {
	if ready := x.ready[text]; ready != nil {
		return ready, nil
	}
	if x.compiler == nil {
		var err error
		if x.compiler, err = condition.NewCompiler(); err != nil {
			return nil, err
		}
		x.ready = map[string]*condition.Condition{}
	}
	ready, err := x.compiler.Condition(text)
	if err != nil {
		return nil, err
	}
	x.ready[text] = ready
	return ready, nil
}

// Asks reports whether some policy has conditions, so that an Identity needs its Request.
func (r *Rules) Asks() bool { return r != nil && r.asks }

// word is what a condition is told of an action. A collision is looked for when something is deleted.
func (a Action) word() string {
	switch a {
	case Read:
		return "read"
	case Create:
		return "create"
	case Update:
		return "update"
	case Delete, DetectCollision:
		return "delete"
	}
	return ""
}

// each calls f with each of several actions.
func (a Action) each(f func(one Action)) {
	for one := Read; one <= DetectCollision; one <<= 1 {
		if a&one != 0 {
			f(one)
		}
	}
}

// sometimes reports whether policies with conditions grant all of several things. E may be nil.
func (r *Rules) sometimes(who Identity, e *entry, do Action, repository string) bool {
	all := true
	do.each(func(one Action) {
		all = all && slices.ContainsFunc(r.policiesFor(who, e, one), func(c conditional) bool {
			_, holds := r.holds(c, who, one, repository)
			return holds
		})
	})
	return all
}

// policiesFor are those with conditions that are for somebody and an action. E may be nil.
func (r *Rules) policiesFor(who Identity, e *entry, do Action) (all []conditional) {
	if who.Name == "" {
		return nil
	}
	list := r.admin.conditional
	if e != nil {
		list = slices.Concat(e.conditional, list)
	}
	for _, c := range list {
		if c.actions&do != 0 && r.isFor(c, who) {
			all = append(all, c)
		}
	}
	return all
}

func (r *Rules) isFor(c conditional, who Identity) bool {
	isOne := func(group string) bool { return slices.Contains(c.groups, group) }
	return slices.Contains(c.users, who.Name) || slices.ContainsFunc(r.groupsOf[who.Name], isOne) || slices.ContainsFunc(who.Groups, isOne)
}

// holds reports whether all conditions of a policy are true, and else the message of the first that is not. One that cannot
// be judged grants nothing, and takes no duty away.
func (r *Rules) holds(c conditional, who Identity, do Action, repository string) (message string, holds bool) {
	q := condition.Question{
		User: who.Name, Groups: slices.Concat(r.groupsOf[who.Name], who.Groups), Admin: r.isAdmin(who),
		Action: do.word(), Repository: repository, Request: who.Request,
	}
	for i, one := range c.conditions {
		yes, err := one.Holds(q)
		switch {
		case err != nil && do == DetectCollision:
		case err != nil:
			r.log.Debug("condition of a policy cannot be judged, and the policy grants nothing", "repository", repository, "action", q.Action, "subject", who.Name, "error", err)
			return "", false
		case !yes:
			return c.messages[i], false
		}
	}
	return "", true
}

// isAdmin reports whether the policy for administrators names somebody, on conditions or without.
func (r *Rules) isAdmin(who Identity) bool {
	return r.of(&r.admin, who) != 0 || who.Name != "" && slices.ContainsFunc(r.admin.conditional, func(c conditional) bool { return r.isFor(c, who) })
}

// Administers reports whether the policy for administrators has somebody do something, of the registry as a whole: to conditions
// the repository is "". Where nothing is configured there is no such policy, and everybody does.
func (r *Rules) Administers(who Identity, do Action) bool {
	if r == nil {
		return true
	}
	granted := r.of(&r.admin, who)
	(do &^ granted).each(func(one Action) {
		for _, c := range r.policiesFor(who, nil, one) {
			if _, yes := r.holds(c, who, one, ""); yes {
				granted |= one
				return
			}
		}
	})
	return granted&do == do
}

// Might reports whether somebody may do something to a repository, if conditions that are judged later are true.
func (r *Rules) Might(who Identity, do Action, repository string) bool {
	if !r.Asks() {
		return r.May(who, do, repository)
	}
	e, granted := r.always(who, repository)
	granted |= r.of(&r.admin, who)
	all := true
	(do &^ granted).each(func(one Action) { all = all && len(r.policiesFor(who, e, one)) > 0 })
	return all
}

// Why is the message of the first condition that denies something to somebody which its policy would grant; "" if there is
// none.
func (r *Rules) Why(who Identity, do Action, repository string) string {
	if !r.Asks() {
		return ""
	}
	for _, c := range r.policiesFor(who, r.find(repository), do) {
		if message, _ := r.holds(c, who, do, repository); message != "" {
			return message
		}
	}
	return ""
}
