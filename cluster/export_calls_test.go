package cluster

import (
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/seed-16d79997/zot/cluster/entry"
)

// Commands are the payloads of the log's commands after an index, and the last index of the log.
func (n *Node) Commands(after uint64) (payloads [][]byte, last uint64, err error) {
	last, err = n.logs.LastIndex()
	for i := after + 1; err == nil && i <= last; i++ {
		var log raft.Log
		if err := n.logs.GetLog(i, &log); err != nil {
			return nil, 0, err
		}
		if log.Type != raft.LogCommand {
			continue
		}
		_, payload, err := entry.Unwrap(log.Data)
		if err != nil {
			return nil, 0, fmt.Errorf("entry %d: %w", i, err)
		}
		payloads = append(payloads, payload)
	}
	return payloads, last, err
}
