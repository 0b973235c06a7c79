package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

const auditHelp = `Has every node check itself while it serves, and compares what they say: each state against itself and with those of the
other nodes, each recorded copy with its file, each blob with the number of copies that it must have. Nothing is changed but that
copies which are found bad are given up and made again, as when a client meets one. What is found once is looked at
again, so that nothing is said of what just moves.

Exit code 1 if an invariant is broken, a line for each on standard output; also if a node could not be asked, or not all could be
checked. A "hint" is no broken invariant, and does not count. The numbers are those of docs/design, section 6.`

func auditCommand(file *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "check all nodes against each other, and their disks, while they serve",
		Long:  auditHelp,
		Args:  cobra.NoArgs,
	}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	hash := cmd.Flags().Bool("hash", false, "read every copy and hash it again, at a pace that leaves the disks to clients: it may take hours")
	cmd.RunE = work(func(cmd *cobra.Command, _ []string) error {
		c, err := newClient(*file)
		if err != nil {
			return err
		}
		defer c.http.CloseIdleConnections()
		show := newDisplay(cmd.ErrOrStderr())
		v, err := c.audit(cmd.Context(), checkWish{Hash: *hash}, func(p []auditProgress) {
			if show.terminal {
				show.stage(stage{text: progressText(p)})
			}
		})
		show.clear()
		if err != nil {
			return err
		}
		if err := printVerdict(cmd.OutOrStdout(), v, *asJSON); err != nil {
			return err
		}
		return v.err()
	})
	return cmd
}

// maxProgress is how long a line of progress may be that every terminal can take away again.
const maxProgress = 79

// progressText is how far all nodes are, in a line.
func progressText(all []auditProgress) string {
	texts := make([]string, len(all))
	for i, p := range all {
		texts[i] = p.Node + ": " + p.text()
	}
	text := strings.Join(texts, "; ")
	return text[:min(len(text), maxProgress)]
}

func (s stageNote) text() string {
	switch {
	case s.Total > 0:
		return fmt.Sprintf("%s %d %%", s.Name, min(s.Done*100/s.Total, 100))
	case s.Done > 0:
		return fmt.Sprintf("%s %d", s.Name, s.Done)
	default:
		return s.Name
	}
}

// err is nil if nothing is broken, and all was looked at.
func (v verdict) err() error {
	if len(v.Broken) > 0 {
		var numbers []string
		for _, f := range v.Broken {
			if n := f.number(); !slices.Contains(numbers, n) {
				numbers = append(numbers, n)
			}
		}
		return fmt.Errorf("the cluster is not as it should be: %s", strings.Join(numbers, ", "))
	}
	if len(v.Unchecked) > 0 {
		var nodes []string
		for _, u := range v.Unchecked {
			if u.Node != "" && !slices.Contains(nodes, u.Node) {
				nodes = append(nodes, u.Node)
			}
		}
		if len(nodes) > 0 {
			return fmt.Errorf("nothing is broken as far as could be seen, but %s could not be asked for all", strings.Join(nodes, " and "))
		}
		return errors.New("nothing is broken as far as could be seen, but not all could be checked")
	}
	return nil
}

// number is how a finding is called.
func (f finding) number() string {
	if f.Invariant == 0 {
		return "the state does not fit together"
	}
	return fmt.Sprintf("invariant %d is broken", f.Invariant)
}

// printVerdict writes a verdict, for programs or for people.
func printVerdict(out io.Writer, v verdict, asJSON bool) error {
	if asJSON {
		encoded, err := json.MarshalIndent(v, "", "  ")
		if err == nil {
			_, err = fmt.Fprintln(out, string(encoded))
		}
		return err
	}
	var b strings.Builder
	for _, f := range v.Broken {
		fmt.Fprintf(&b, "%s", f.number())
		if len(f.Nodes) > 0 {
			fmt.Fprintf(&b, " on %s", strings.Join(f.Nodes, ", "))
		}
		fmt.Fprintf(&b, ": %s\n  what to do: %s\n", f.What, f.Mend)
	}
	for _, u := range v.Unchecked {
		b.WriteString("not checked: ")
		if u.Node != "" {
			b.WriteString(u.Node + ": ")
		}
		b.WriteString(u.What + "\n")
	}
	for _, h := range v.Hints {
		b.WriteString("hint: " + h + "\n")
	}
	b.WriteString(v.summary() + "\n")
	_, err := io.WriteString(out, b.String())
	return err
}

// summary is the verdict in a line.
func (v verdict) summary() string {
	answered, copies, bytes, hashed := 0, int64(0), int64(0), int64(0)
	for _, n := range v.Nodes {
		if n.Answered {
			answered++
		}
		copies, bytes, hashed = copies+n.Copies, bytes+n.Bytes, hashed+n.Hashed
	}
	how := "well"
	switch {
	case len(v.Broken) == 1:
		how = "1 finding"
	case len(v.Broken) > 1:
		how = fmt.Sprintf("%d findings", len(v.Broken))
	case len(v.Unchecked) > 0:
		how = "well as far as could be seen"
	}
	text := fmt.Sprintf("%s: %d of %d nodes answered, %d copies with %s were looked at", how, answered, len(v.Nodes), copies, bytesText(bytes))
	if hashed > 0 {
		text += fmt.Sprintf(", %s hashed", bytesText(hashed))
	}
	return text
}
