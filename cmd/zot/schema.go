package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/seed-16d79997/zot/cmd/zot/config"
)

const schemaHelp = `Prints a JSON Schema (draft 2020-12) of the configuration file, by which editors complete keys, say what they are for, and
mark what is no key or cannot be its value. It is made of what 'zot serve' reads, for this version:

  zot schema > zot.schema.json

In VS Code, and others that have its language servers, a JSON file then begins with {"$schema": "./zot.schema.json", ...},
and a YAML file with the line
  # yaml-language-server: $schema=./zot.schema.json

It does not say how keys depend on each other: 'zot verify FILE' does.`

func schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "print a JSON Schema of the configuration file, for editors",
		Long:  schemaHelp,
		Args:  cobra.NoArgs,
		RunE: work(func(cmd *cobra.Command, _ []string) error {
			text, err := config.Schema()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), string(text))
			return err
		}),
	}
}
