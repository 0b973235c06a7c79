package main

import (
	"fmt"
	"io"
	"os"

	"github.com/hashicorp/go-hclog"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

// openLog makes the logger of the process: a JSON object a line. The caller closes it, last.
func openLog(c config.Log, stdout io.Writer) (hclog.Logger, io.Closer, error) {
	var out io.WriteCloser = keptOpen{stdout}
	if c.Output != "" {
		file, err := os.OpenFile(c.Output, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, nil, fmt.Errorf("open the log (log.output): %w", err)
		}
		out = file
	}
	return hclog.New(&hclog.LoggerOptions{Name: "zot", Level: levelOf(c.Level), Output: out, JSONFormat: true}), out, nil
}

// levelOf is zot's word for a level as hclog's; what hclog does not tell apart is an error.
func levelOf(word string) hclog.Level {
	switch word {
	case "fatal", "panic":
		return hclog.Error
	case "disabled":
		return hclog.Off
	default:
		return hclog.LevelFromString(word)
	}
}

// keptOpen is a writer that is somebody else's to close.
type keptOpen struct{ io.Writer }

// Close does nothing.
func (keptOpen) Close() error { return nil }
