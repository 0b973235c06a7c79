package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/seed-16d79997/zot/fsm"
)

// printStatus writes a status for people: some lines on the whole, then a line for each node, then the jobs.
func printStatus(out io.Writer, s clusterStatus, allJobs bool, now time.Time) error {
	var b strings.Builder
	if s.Waiting != "" {
		fmt.Fprintf(&b, "this node waits: %s\n", s.Waiting)
	}
	fmt.Fprintf(&b, "leader %s, term %d; %s may still fail\n", cmp.Or(s.Leader, "none"), s.Term, nodes(s.FailureTolerance))
	fmt.Fprintf(&b, "blobs: %s damaged, %s at one copy, %s below their replicas; %s doomed\n",
		counted(s.Blobs.Damaged), counted(s.Blobs.AtOneCopy), counted(s.Blobs.BelowReplicas), pluralCounted(s.Blobs.Doomed, "copy", "copies"))
	b.WriteString(s.Usage.text())
	for _, e := range s.Emptying {
		fmt.Fprintln(&b, e)
	}
	for _, m := range s.Moving {
		fmt.Fprintln(&b, m)
	}
	b.WriteString("\n")
	rows := [][]string{{"", "NODE", "STATE", "VOTER", "APPLIED", "LAG", "LAST CONTACT", "COPIES", "DISK USED", "VERSION", "LEVEL", "ADDRESS", "INCARNATION"}}
	for _, m := range s.Members {
		rows = append(rows, memberRow(m, m.Name != "" && m.Name == s.Leader))
	}
	writeTable(&b, rows)
	writeStores(&b, s)
	writeJobs(&b, s, allJobs, now)
	_, err := io.WriteString(out, b.String())
	return err
}

// writeTable writes rows in columns.
func writeTable(b *strings.Builder, rows [][]string) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, cells := range rows {
		_, _ = fmt.Fprintln(w, strings.Join(cells, "\t")) // into memory
	}
	_ = w.Flush() // as above
}

// writeStores writes a line for each store of each node, if there are several.
func writeStores(b *strings.Builder, s clusterStatus) {
	rows := [][]string{{"", "STORE", "NODE", "COPIES", "DISK USED"}}
	names := map[string]bool{}
	for _, m := range s.Members {
		for name := range m.Stores {
			names[name] = true
		}
		for name := range m.HeldIn {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		for _, m := range s.Members {
			var use *storeUse
			if u, known := m.Stores[name]; known {
				use = &u
			}
			rows = append(rows, []string{"", name, cmp.Or(m.Name, "?"), heldText(m.HeldIn[name]), use.text()})
		}
	}
	if len(rows) > 1 {
		b.WriteString("\n")
		writeTable(b, rows)
	}
}

// writeJobs writes what the jobs of all nodes do: those that are at work or have failed, or all.
func writeJobs(b *strings.Builder, s clusterStatus, all bool, now time.Time) {
	rows := [][]string{{"", "JOB", "NODE", "NOW", "LAST RUN", "TOOK", "ERROR"}}
	waiting := 0
	for _, m := range s.Members {
		for _, j := range m.Jobs {
			if !all && j.Error == "" && j.idle(now) {
				waiting++
				continue
			}
			rows = append(rows, jobRow(m.Name, j, now))
		}
	}
	if len(rows) > 1 {
		b.WriteString("\n")
		writeTable(b, rows)
	}
	if waiting > 0 {
		fmt.Fprintf(b, "\n%d jobs are well and wait for their next run\n", waiting)
	}
}

// shortRun is how long a job may be at work before that is worth a line.
const shortRun = 2 * time.Second

// idle reports whether a job waits, or has only just begun.
func (j jobReport) idle(now time.Time) bool {
	return j.Running.IsZero() || now.Sub(j.Running) < shortRun
}

func jobRow(node string, j jobReport, now time.Time) []string {
	row := []string{"", j.Name, cmp.Or(node, "?"), "waits", "-", "-", cmp.Or(j.Error, "-")}
	if !j.Running.IsZero() {
		row[3] = "at work for " + ago(now.Sub(j.Running))
	}
	if !j.Ended.IsZero() {
		row[4], row[5] = ago(now.Sub(j.Ended))+" ago", ago(time.Duration(j.TookSeconds*float64(time.Second)))
	}
	return row
}

// ago is a duration as people want it: the clocks of two machines differ by more than what is left out.
func ago(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	default:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
}

func memberRow(m memberStatus, leads bool) []string {
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
		mark, cmp.Or(m.Name, "?"), m.State, voter, number(m.Applied), number(m.Lag), contact, heldText(m.Held), m.Store.text(),
		cmp.Or(m.Version, "?"), fmt.Sprint(m.Level), m.Address, m.Incarnation.Short(),
	}
}

// heldText is how many bytes are recorded on a node.
func heldText(h fsm.Held) string {
	if h.Copies == 0 {
		return "-"
	}
	return bytesText(h.Bytes) + " in " + fmt.Sprint(h.Copies)
}

// text is how much of a disk is used; a dash for a node that does not say.
func (u *storeUse) text() string {
	if u == nil {
		return "-"
	}
	return bytesText(u.UsedBytes) + " of " + bytesText(u.TotalBytes)
}

// bytesText is a number of bytes in the largest unit of which there is one.
func bytesText(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	value, units := float64(n)/(1<<10), "KMGTPE"
	for value >= 1<<10 {
		value, units = value/(1<<10), units[1:]
	}
	return fmt.Sprintf("%.1f %ciB", value, units[0])
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
