package peer

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/hashicorp/memberlist"
)

// Member is a node that gossip believes to be running.
type Member struct {
	Name, Address, Incarnation string
	Meta                       []byte
}

// encode is name and address, each with its length before it, and the rest.
func (m Member) encode() []byte {
	meta := binary.AppendUvarint(nil, uint64(len(m.Name)))
	meta = append(meta, m.Name...)
	meta = binary.AppendUvarint(meta, uint64(len(m.Address)))
	meta = append(meta, m.Address...)
	return append(meta, m.Meta...)
}

func decodeMember(incarnation string, meta []byte) (Member, error) {
	name, rest, ok := cutPrefixed(meta)
	if !ok || name == "" {
		return Member{}, errors.New("no node name in its metadata")
	}
	address, rest, ok := cutPrefixed(rest)
	if !ok || address == "" {
		return Member{}, errors.New("no address in its metadata")
	}
	return Member{Name: name, Address: address, Incarnation: incarnation, Meta: slices.Clone(rest)}, nil
}

func cutPrefixed(b []byte) (text string, rest []byte, ok bool) {
	length, n := binary.Uvarint(b)
	if n <= 0 || length > memberlist.MetaMaxSize || n+int(length) > len(b) {
		return "", nil, false
	}
	end := n + int(length)
	return string(b[n:end]), b[end:], true
}

// delegate is how memberlist asks about this node and tells of the others.
type delegate struct{ gossip *Gossip }

// NodeMeta fits: the lengths of all its parts are limited (maxNode, maxAdvertise, MaxMeta).
func (d delegate) NodeMeta(int) []byte { return d.gossip.metadata() }

// NotifyAlive passes over a node that does not say where it is.
func (delegate) NotifyAlive(node *memberlist.Node) error {
	_, err := decodeMember(node.Name, node.Meta)
	return err
}

func (d delegate) NotifyJoin(node *memberlist.Node)   { d.gossip.learn(node, true) }
func (d delegate) NotifyUpdate(node *memberlist.Node) { d.gossip.learn(node, true) }
func (d delegate) NotifyLeave(node *memberlist.Node)  { d.gossip.learn(node, false) }

// There are no messages and no state of ours beside the metadata.

func (delegate) NotifyMsg([]byte)                {}
func (delegate) GetBroadcasts(int, int) [][]byte { return nil }
func (delegate) LocalState(bool) []byte          { return nil }
func (delegate) MergeRemoteState([]byte, bool)   {}
