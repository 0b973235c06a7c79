package condition

import (
	"errors"
	"fmt"

	"cel.dev/cel-go/cel"
)

// usernameOfClaims is how claims name somebody where nothing else is said, as for zot.
const usernameOfClaims = "claims.iss + '/' + claims.sub"

// maxName is how long a name or a group may be, in bytes, and maxGroups how many groups are taken.
const (
	maxName   = 512
	maxGroups = 500
)

// Variable is an expression that later ones use by its name, as vars.NAME.
type Variable struct{ Name, Expression string }

// Validation is an expression that must be true of claims.
type Validation struct{ Expression, Message string }

// Mapping says what name and groups the claims of a token are, in expressions about claims and vars.
type Mapping struct {
	Variables   []Variable
	Validations []Validation
	Username    string // "": issuer and subject
	Groups      string // "": none
}

// Mapper is a Mapping that is ready. It may be used concurrently.
type Mapper struct {
	names            []string
	variables, rules []cel.Program
	messages         []string
	username, groups cel.Program // groups may be nil
}

// KeyError is what is wrong with one key of a Mapping.
type KeyError struct {
	Key string // below the mapping, as validations[0].expression
	Err error
}

// Error has both.
func (e *KeyError) Error() string { return e.Key + ": " + e.Err.Error() }

// Unwrap is what is wrong.
func (e *KeyError) Unwrap() error { return e.Err }

// Mapper compiles a mapping. It fails with a KeyError for each key that has no such expression.
func (c *Compiler) Mapper(m Mapping) (*Mapper, error) {
	var all []error
	ready := func(key, expression string, want *cel.Type) cel.Program {
		p, err := compile(c.claims, expression, want)
		if err != nil {
			all = append(all, &KeyError{key, err})
		}
		return p
	}
	r := &Mapper{}
	for i, v := range m.Variables {
		if v.Name == "" {
			all = append(all, &KeyError{fmt.Sprintf("variables[%d].name", i), errors.New("is missing")})
		}
		r.names = append(r.names, v.Name)
		r.variables = append(r.variables, ready(fmt.Sprintf("variables[%d].expression", i), v.Expression, cel.DynType))
	}
	for i, v := range m.Validations {
		r.messages = append(r.messages, v.Message)
		r.rules = append(r.rules, ready(fmt.Sprintf("validations[%d].expression", i), v.Expression, cel.BoolType))
	}
	if m.Username == "" {
		m.Username = usernameOfClaims
	}
	r.username = ready("username", m.Username, cel.StringType)
	if m.Groups != "" {
		r.groups = ready("groups", m.Groups, cel.ListType(cel.DynType))
	}
	return r, errors.Join(all...)
}

// claimsOf is what the expressions of a mapping see.
type claimsOf struct{ claims, vars map[string]any }

// ResolveName is for CEL.
func (c *claimsOf) ResolveName(name string) (any, bool) {
	switch name {
	case "claims":
		return c.claims, true
	case "vars":
		return c.vars, true
	}
	return nil, false
}

// Parent is for CEL.
func (c *claimsOf) Parent() cel.Activation { return nil }

// Map returns whose claims they are. It fails if they are nobody's.
func (m *Mapper) Map(claims map[string]any) (name string, groups []string, err error) {
	c := &claimsOf{claims, map[string]any{}}
	for i, p := range m.variables {
		value, _, err := p.Eval(c)
		if err != nil {
			return "", nil, fmt.Errorf("variable %s: %w", m.names[i], err)
		}
		c.vars[m.names[i]] = value
	}
	for i, p := range m.rules {
		value, _, err := p.Eval(c)
		if err != nil {
			return "", nil, fmt.Errorf("validation %d: %w", i, err)
		}
		if holds, _ := value.Value().(bool); !holds {
			return "", nil, fmt.Errorf("validation %d is false: %s", i, m.messages[i])
		}
	}
	value, _, err := m.username.Eval(c)
	if err != nil {
		return "", nil, fmt.Errorf("username: %w", err)
	}
	name, _ = value.Value().(string)
	if name == "" || len(name) > maxName {
		return "", nil, fmt.Errorf("username is no text of 1 to %d bytes", maxName)
	}
	if m.groups == nil {
		return name, nil, nil
	}
	value, _, err = m.groups.Eval(c)
	if err != nil {
		return "", nil, fmt.Errorf("groups: %w", err)
	}
	groups, err = textsOf(value)
	return name, groups, err
}
