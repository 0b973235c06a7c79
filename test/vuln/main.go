// Command vuln judges what govulncheck says, in JSON on standard input: it fails for each known vulnerability that the code
// calls, unless the list that it is given accepts it.
//
// Only what is in the standard library may be accepted, for its version is that of the Go that builds, which is not ours
// to choose everywhere; and only with a word of why it does no harm, or what is done about it meanwhile. Of modules there are newer
// versions.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: govulncheck -format json ./... | vuln LIST")
		os.Exit(2)
	}
	said := ""
	list, err := os.ReadFile(os.Args[1])
	if err == nil {
		said, err = judge(os.Stdin, string(list))
	}
	fmt.Print(said)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
