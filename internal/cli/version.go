package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

// versionReply is what `lifeboat version -o json` prints.
type versionReply struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func newVersion(inv *invocation) *cobra.Command {
	return withFormats(&cobra.Command{
		Use:     "version",
		Short:   "Print the version of this program",
		Example: `  lifeboat version -o json`,
		Args:    wants(),
		RunE:    func(*cobra.Command, []string) error { return runVersion(inv) },
	}, "text", "json")
}

func runVersion(inv *invocation) error {
	reply := versionReply{Version: inv.Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if inv.json() {
		return inv.writeJSON(reply)
	}
	return inv.write(fmt.Appendf(nil, "lifeboat %s (%s, %s)\n", reply.Version, reply.Go, reply.Platform))
}
