package fsm

import (
	"fmt"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// Nodes lists all nodes that the state knows, dropped ones too.
func (s *State) Nodes() (all []entry.Node, err error) {
	err = s.View(func(v View) error {
		all = v.Nodes()
		return nil
	})
	return all, err
}

// ClusterID is the cluster's id, nil until the first leader has recorded it.
func (s *State) ClusterID() (id []byte) {
	err := s.View(func(v View) error {
		c, _ := v.Cluster()
		id = c.ID
		return nil
	})
	if err != nil {
		return nil // fenced, or closed
	}
	return id
}

// TermStarted is the payload of that command; the following are likewise. They are for the cluster,
// which proposes them by itself and knows no command.
func (*State) TermStarted() []byte { return payload(TermStarted{}) }

// HashCheck carries what a majority noted at an earlier check; none with index 0.
func (*State) HashCheck(index uint64, sum []byte) []byte {
	return payload(HashCheck{Index: index, Sum: sum})
}

// ClusterFormed records the cluster's identity.
func (*State) ClusterFormed(name string, id []byte) []byte {
	return payload(ClusterFormed{Name: name, ID: id})
}

// NodeStarted announces a node.
func (*State) NodeStarted(node entry.Node) []byte { return payload(NodeStarted{Node: node}) }

// NodeJoined says that Raft has made a node a voter.
func (*State) NodeJoined(i entry.Incarnation) []byte { return payload(NodeJoined{Incarnation: i}) }

// RetireNode takes a node's copies out of all counts.
func (*State) RetireNode(i entry.Incarnation) []byte { return payload(RetireNode{Incarnation: i}) }

// DropNode ends a retired node.
func (*State) DropNode(i entry.Incarnation, lost, unlessSole bool) []byte {
	return payload(DropNode{Incarnation: i, Lost: lost, UnlessSole: unlessSole})
}

// payload encodes a command of the cluster. One that does not pass its own check is a mistake that the
// leader would refuse, so it is passed on as it is.
func payload(c Command) []byte {
	b, err := Encode(c)
	if err != nil {
		return nil
	}
	return b
}

// Explain is nil for a result that is Applied. For a refusal it is the *Refusal, else it says what
// became of the command.
func (*State) Explain(result entry.Result) error {
	switch result.Outcome {
	case entry.Applied:
		return nil
	case entry.Refused:
		return decodeRefusal(result.Bytes)
	case entry.WrongTerm, entry.Expired:
		return ErrOutcomeUnknown
	default:
		return fmt.Errorf("outcome %d is not known", result.Outcome)
	}
}
