package cluster

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/seed-16d79997/zot/cluster/peer"
)

const pathTransfer = "/transfer"

// transfer is what an operator asks for.
type transfer struct {
	Name string `json:"name"` // who is to lead; "" for the one that is furthest along
}

// MoveLeadership has the leader hand over to the named member, or to the one that is furthest along if
// name is "", from any node. It changes nothing if that one leads already.
//
// It fails if there is no leader, no member of that name, or nobody who took it.
func (n *Node) MoveLeadership(ctx context.Context, name string) error {
	ctx, cancel := withDeadline(ctx, proposeTimeout)
	defer cancel()
	body, err := json.Marshal(transfer{name})
	if err != nil {
		return err
	}
	return untilLed(ctx, func() error {
		_, err := n.handleTransfer(ctx, peer.Caller{}, body)
		return err
	})
}

func (n *Node) handleTransfer(ctx context.Context, from peer.Caller, body []byte) ([]byte, error) {
	var t transfer
	if err := json.Unmarshal(body, &t); err != nil {
		return nil, &peer.RemoteError{Code: codeUnacceptble, Message: "not a request to transfer leadership"}
	}
	return n.onLeader(ctx, from, pathTransfer, body, func(termProposer) error {
		switch {
		case t.Name == n.config.Node:
			return nil
		case n.voters() < 2:
			return errors.New("nobody else votes who could lead")
		}
		return n.Transfer(ctx, t.Name)
	})
}
