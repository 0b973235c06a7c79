package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/seed-16d79997/zot/cluster"
)

// printStatus writes a status for people: a line on the whole, then a line for each node.
func printStatus(out io.Writer, s clusterStatus) error {
	var b strings.Builder
	if s.Waiting != "" {
		fmt.Fprintf(&b, "this node waits: %s\n", s.Waiting)
	}
	fmt.Fprintf(&b, "leader %s, term %d; %s may still fail\n", cmp.Or(s.Leader, "none"), s.Term, nodes(s.FailureTolerance))
	fmt.Fprintf(&b, "blobs: %s damaged, %s below their replicas\n\n", counted(s.Blobs.Damaged), counted(s.Blobs.BelowReplicas))
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { _, _ = fmt.Fprintln(w, strings.Join(cells, "\t")) } // into memory
	row("", "NODE", "STATE", "VOTER", "APPLIED", "LAG", "LAST CONTACT", "VERSION", "LEVEL", "ADDRESS", "INCARNATION")
	for _, m := range s.Members {
		row(memberRow(m, m.Name != "" && m.Name == s.Leader)...)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func memberRow(m cluster.MemberStatus, leads bool) []string {
	mark, voter, contact := "", "no", "-"
	if leads {
		mark = "*"
	}
	if m.Voter {
		voter = "yes"
	}
	if m.LastContactSeconds != nil {
		contact = time.Duration(*m.LastContactSeconds * float64(time.Second)).Round(time.Millisecond).String()
	}
	return []string{
		mark, cmp.Or(m.Name, "?"), m.State, voter, number(m.Applied), number(m.Lag), contact,
		cmp.Or(m.Version, "?"), fmt.Sprint(m.Level), m.Address, m.Incarnation.Short(),
	}
}

// number is a dash for a node that does not say.
func number(n *uint64) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprint(*n)
}

func nodes(n int) string {
	if n == 1 {
		return "1 node"
	}
	return fmt.Sprintf("%d nodes", n)
}

// counted is a number of blobs, of which no more than maxCounted are counted.
func counted(n int) string {
	if n >= maxCounted {
		return fmt.Sprintf("%d or more", maxCounted)
	}
	return fmt.Sprint(n)
}
