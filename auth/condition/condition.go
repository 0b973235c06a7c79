// Package condition has what configurations say in CEL, the Common Expression Language: the conditions of policies, and what
// name and groups the claims of a token are. It does not know policies, nor how somebody has proved who they are.
//
// An expression sees what a Question or some claims hold and nothing else, is compiled once, and ends at a limit of its cost.
// Start reading at Compiler.
package condition

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/ext"
)

const (
	// maxCost is what an evaluation may cost, in CEL's units: about one for each step, and a tenth for each character that is
	// looked at. Going through 500 groups is 3,000. It is a few milliseconds at most.
	maxCost = 50_000
	// maxExpression is how long an expression may be, in bytes.
	maxExpression = 8 << 10
)

// Request is what a condition may ask of a request, beside who asks to do what. It is JSON between nodes.
type Request struct {
	Time      time.Time
	Method    string
	UserAgent string   `json:",omitempty"`
	Tag       string   `json:",omitempty"`
	Digest    string   `json:",omitempty"`
	Client    string   `json:",omitempty"` // its address
	Forwarded []string `json:",omitempty"` // X-Forwarded-For as it came, which anybody can send
	TLS       bool     `json:",omitempty"`
	Version   string   `json:",omitempty"` // of TLS, as 1.3, if this node has it with the client

	Claims map[string]any `json:",omitempty"` // of the token that says who asks
}

// Question is what is asked of a condition.
type Question struct {
	User       string
	Groups     []string
	Admin      bool // the user is an administrator, whatever that means here
	Action     string
	Repository string
	Request    *Request
}

// Compiler makes expressions ready. It may be used concurrently.
type Compiler struct{ requests, claims *cel.Env }

// NewCompiler fails only for a fault of ours.
func NewCompiler() (*Compiler, error) {
	shared := []cel.EnvOption{
		ext.Strings(), ext.Network(), // split, lowerAscii and others; cidr("10.0.0.0/8").containsIP(req.client.ip)
		cel.ParserExpressionSizeLimit(maxExpression), cel.ParserRecursionLimit(64),
	}
	object, texts := cel.MapType(cel.StringType, cel.DynType), cel.ListType(cel.StringType)
	requests, err := cel.NewEnv(append([]cel.EnvOption{
		cel.Variable("req.time", cel.TimestampType),
		cel.Variable("req.method", cel.StringType),
		cel.Variable("req.userAgent", cel.StringType),
		cel.Variable("req.action", cel.StringType),
		cel.Variable("req.repository", cel.StringType),
		cel.Variable("req.reference", cel.StringType),
		cel.Variable("req.referenceType", cel.StringType),
		cel.Variable("req.tag", cel.StringType),
		cel.Variable("req.digest", cel.StringType),
		cel.Variable("req.user", cel.StringType),
		cel.Variable("req.user.username", cel.StringType),
		cel.Variable("req.user.groups", texts),
		cel.Variable("req.auth.anonymous", cel.BoolType),
		cel.Variable("req.auth.admin", cel.BoolType),
		cel.Variable("req.client.ip", cel.StringType),
		cel.Variable("req.client.forwardedFor", texts),
		cel.Variable("req.tls", cel.BoolType),
		cel.Variable("req.tls.enabled", cel.BoolType),
		cel.Variable("req.tls.version", cel.StringType),
		cel.Variable("req.claims", object),
	}, shared...)...)
	if err != nil {
		return nil, fmt.Errorf("declare what conditions may ask: %w", err)
	}
	claims, err := cel.NewEnv(append([]cel.EnvOption{cel.Variable("claims", object), cel.Variable("vars", object)}, shared...)...)
	if err != nil {
		return nil, fmt.Errorf("declare what claims are: %w", err)
	}
	return &Compiler{requests, claims}, nil
}

// Condition is an expression that is true or false of a question. It may be used concurrently.
type Condition struct{ program cel.Program }

// Condition compiles one. It fails for what is none, with a text that says where.
func (c *Compiler) Condition(expression string) (*Condition, error) {
	program, err := compile(c.requests, expression, cel.BoolType)
	return &Condition{program}, err
}

// compile makes an expression ready whose value is of a type, as far as that can be known.
func compile(env *cel.Env, expression string, want *cel.Type) (cel.Program, error) {
	ast, issues := env.Compile(expression)
	if issues.Err() != nil {
		var all []string
		for _, one := range issues.Errors() {
			what, _, _ := strings.Cut(one.Message, " expecting {") // all that CEL has
			all = append(all, fmt.Sprintf("%s (line %d, column %d)", what, one.Location.Line(), one.Location.Column()+1))
		}
		return nil, errors.New(strings.ReplaceAll(strings.Join(all, "; "), "\n", " "))
	}
	got := ast.OutputType()
	if want != cel.DynType && !got.IsExactType(cel.DynType) && !want.IsAssignableType(got) { // of claims only their values tell
		return nil, fmt.Errorf("is %s, and not %s", got, want)
	}
	return env.Program(ast, cel.CostLimit(maxCost), cel.EvalOptions(cel.OptOptimize))
}

// Holds reports whether the condition is true. It fails if that cannot be told, as of a claim that is not there, and if it
// costs too much.
func (c *Condition) Holds(q Question) (bool, error) {
	if q.Request == nil {
		return false, errors.New("nothing is known of the request")
	}
	value, _, err := c.program.Eval(&q)
	if err != nil {
		return false, err
	}
	holds, is := value.Value().(bool)
	if !is {
		return false, fmt.Errorf("is %s, and not bool", value.Type())
	}
	return holds, nil
}

// ResolveName is for CEL.
func (q *Question) ResolveName(name string) (any, bool) {
	r := q.Request
	switch name {
	case "req.time":
		return r.Time, true
	case "req.method":
		return r.Method, true
	case "req.userAgent":
		return r.UserAgent, true
	case "req.action":
		return q.Action, true
	case "req.repository":
		return q.Repository, true
	case "req.reference":
		return r.Tag + r.Digest, true // one of them is ""
	case "req.referenceType":
		return r.kind(), true
	case "req.tag":
		return r.Tag, true
	case "req.digest":
		return r.Digest, true
	case "req.user", "req.user.username":
		return q.User, true
	case "req.user.groups":
		return q.Groups, true
	case "req.auth.anonymous":
		return q.User == "", true
	case "req.auth.admin":
		return q.Admin, true
	case "req.client.ip":
		return r.Client, true
	case "req.client.forwardedFor":
		return r.Forwarded, true
	case "req.tls", "req.tls.enabled":
		return r.TLS, true
	case "req.tls.version":
		return r.Version, true
	case "req.claims":
		if r.Claims == nil {
			return map[string]any{}, true
		}
		return r.Claims, true
	}
	return nil, false
}

// Parent is for CEL.
func (q *Question) Parent() cel.Activation { return nil }

// kind is what the request names.
func (r *Request) kind() string {
	switch {
	case r.Tag != "":
		return "tag"
	case r.Digest != "":
		return "digest"
	}
	return ""
}
