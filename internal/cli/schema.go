package cli

import (
	"bytes"
	"context"

	"github.com/spf13/cobra"
)

func newSchema(inv *invocation) *cobra.Command {
	return withFormats(&cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of lifeboat.yaml, for editors",
		Long: `Editors that speak the YAML language server's protocol complete and check lifeboat.yaml by it: write
"# yaml-language-server: $schema=lifeboat.schema.json" on its first line.`,
		Example: `  lifeboat schema > lifeboat.schema.json`,
		Args:    wants(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return runSchema(cmd.Context(), inv) },
	}, "json")
}

func runSchema(ctx context.Context, inv *invocation) error {
	b, err := inv.Documents.Schema(ctx)
	if err != nil {
		return err
	}
	return inv.write(append(bytes.TrimRight(b, "\n"), '\n'))
}
