package condition

import (
	"fmt"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// textsOf reads a list of texts.
func textsOf(value ref.Val) (all []string, err error) {
	list, is := value.(traits.Lister)
	if !is {
		return nil, fmt.Errorf("groups are %s, and no list", value.Type())
	}
	for i := list.Iterator(); i.HasNext() == types.True; {
		text, is := i.Next().Value().(string)
		if !is || text == "" || len(text) > maxName || len(all) == maxGroups {
			return nil, fmt.Errorf("groups are no %d texts of 1 to %d bytes at most", maxGroups, maxName)
		}
		all = append(all, text)
	}
	return all, nil
}
