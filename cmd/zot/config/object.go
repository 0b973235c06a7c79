package config

import (
	"fmt"
	"strings"
)

// maxDepth is how deep a file may nest. Real ones come to eight.
const maxDepth = 64

// object is a section of a file with its keys as they were spelled, in the order of the file. A value
// is an *object, a []any, a string, a json.Number or a bool; a key whose value is null is left out, as
// zot does.
type object struct {
	members []member
}

type member struct {
	name  string
	value any
}

// add adds a key, unless it says nothing.
func (o *object) add(name string, value any) {
	if value != nil {
		o.members = append(o.members, member{name, value})
	}
}

// find returns what a path of keys leads to, nil if it leads nowhere.
func (o *object) find(path ...string) any {
	var value any = o
	for _, name := range path {
		inside, ok := value.(*object)
		if !ok {
			return nil
		}
		value = nil
		for _, m := range inside.members {
			if strings.EqualFold(m.name, name) {
				value = m.value
			}
		}
	}
	return value
}

// tooDeep fails for what lies deeper than any real file.
func tooDeep(depth int) error {
	if depth < maxDepth {
		return nil
	}
	return fmt.Errorf("more than %d objects and lists within each other", maxDepth)
}
