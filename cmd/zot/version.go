package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

func versionCommand(s surroundings) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print the version as a line of JSON",
		Args:  cobra.NoArgs,
		RunE:  work(printVersion(s)),
	}
}

// printVersion writes a line with the keys that zot's --version has, and the version.
func printVersion(s surroundings) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		line, err := json.Marshal(struct {
			Version string `json:"version"`
			Spec    string `json:"distribution-spec"`
			Commit  string `json:"commit"`
			Type    string `json:"binary-type"`
			Go      string `json:"go version"`
		}{s.version, config.DistSpecVersion, commit(s.version), "", runtime.Version()})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), string(line))
		return err
	}
}

// commit is the one that the binary was built from, if the build recorded it, else the version.
func commit(version string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				return setting.Value
			}
		}
	}
	return version
}
