package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// topics are help texts that belong to no command.
func topics() []*cobra.Command {
	return []*cobra.Command{
		{Use: "exit-codes", Short: "The exit codes of all commands", Long: exitCodesHelp()},
		{Use: "environment", Short: "The environment variables that Lifeboat reads", Long: environmentHelp},
	}
}

const environmentHelp = `These variables change what commands do. A flag goes before a variable.

  LIFEBOAT_CONFIG  the configuration file, in place of lifeboat.yaml here or above
  NO_COLOR         when set, no colours
  TERM             "dumb" turns colours and the live view off

Secrets named env:NAME in lifeboat.yaml are read from the variable NAME when they are used.

Below "lifeboat vault", restic's variables mean what they mean there:

  RESTIC_REPOSITORY, RESTIC_REPOSITORY_FILE        the vault, as -r names it
  RESTIC_PASSWORD, RESTIC_PASSWORD_FILE,
  RESTIC_PASSWORD_COMMAND, RESTIC_KEY_HINT         its password, and the key to try first
  RESTIC_FROM_...                                  the same for the vault that is copied from
  RESTIC_HOST                                      the host of points that are made, and that are meant
  RESTIC_CACHE_DIR, RESTIC_CACERT,
  RESTIC_TLS_CLIENT_CERT                           the local copies of metadata, and whom to trust
  RESTIC_REST_USERNAME, RESTIC_REST_PASSWORD       the user of a vault server
  RESTIC_COMPRESSION, RESTIC_PACK_SIZE,
  RESTIC_READ_CONCURRENCY                          how things are stored and read
  RESTIC_PROGRESS_FPS                              how often progress is drawn
  AWS_ACCESS_KEY_ID, AWS_PROFILE, ...              credentials for buckets, as aws has them`

// isTopic reports whether cmd is a help text alone.
func isTopic(cmd *cobra.Command) bool { return !cmd.Runnable() && !cmd.HasSubCommands() }

// newHelp is `lifeboat help`.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND...]",
		Short: "Explain a command or a topic",
		Example: `  lifeboat help
  lifeboat help failover
  lifeboat help run retry
  lifeboat help exit-codes`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			about := cmd.Root()
			for i, word := range args {
				next := child(about, word)
				if next == nil {
					near := unknownCommand(about, word)
					hint := strings.Replace(failure.HintOf(near), "`lifeboat ", "`lifeboat help ", 1)
					return failure.New(failure.Invalid, "", "", "there is no help about %q", strings.Join(args[:i+1], " ")).
						WithHint("%s", strings.Replace(hint, "help help", "help", 1))
				}
				about = next
			}
			return writeHelp(about)
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			about := cmd.Root()
			for _, word := range args {
				if about = child(about, word); about == nil {
					return nil, cobra.ShellCompDirectiveNoFileComp
				}
			}
			var names []string
			for _, c := range about.Commands() {
				if c.IsAvailableCommand() || isTopic(c) {
					names = append(names, c.Name()+"\t"+c.Short)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

func child(cmd *cobra.Command, name string) *cobra.Command {
	for _, c := range cmd.Commands() {
		if c.Name() == name || c.HasAlias(name) {
			return c
		}
	}
	return nil
}

// writeHelp writes the help of one command: what it is, how it is written, its details, examples and flags.
func writeHelp(cmd *cobra.Command) error {
	var b strings.Builder
	section := func(title, body string) {
		if body = strings.Trim(body, "\n"); body != "" {
			fmt.Fprintf(&b, "\n%s:\n%s\n", title, body)
		}
	}
	fmt.Fprintf(&b, "%s.\n", cmd.Short)
	if cmd.Long != "" {
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(cmd.Long))
	}
	if !isTopic(cmd) {
		use := cmd.UseLine()
		if cmd.HasAvailableSubCommands() && (!cmd.HasParent() || cmd.Annotations[formatsKey] == "") {
			use = cmd.CommandPath() + " COMMAND"
		}
		section("Usage", "  "+use)
		if len(cmd.Aliases) > 0 {
			section("Also called", "  "+strings.Join(cmd.Aliases, ", "))
		}
	}
	writeCommands(cmd, section)
	section("Examples", cmd.Example)
	if !isTopic(cmd) {
		section("Flags", cmd.LocalNonPersistentFlags().FlagUsages())
		if cmd.HasParent() && !cmd.Parent().HasParent() && cmd.HasPersistentFlags() {
			section("Flags of every `"+cmd.CommandPath()+"` command", shared(cmd).FlagUsages())
		}
		if cmd.HasParent() {
			if cmd.Parent().HasParent() {
				own := shared(cmd)
				section("Flags of every `"+familyOf(cmd).CommandPath()+"` command", own.FlagUsages())
			}
			section("Global flags", cmd.Root().PersistentFlags().FlagUsages())
		} else {
			section("Global flags", cmd.PersistentFlags().FlagUsages())
		}
	}
	if list := formats(cmd); len(list) > 0 {
		section("Output formats", "  "+strings.Join(list, ", ")+" (the first is the default)")
	}
	if _, err := cmd.OutOrStdout().Write([]byte(b.String())); err != nil {
		return failure.WrapAs(failure.Unavailable, err, "write", "help")
	}
	return nil
}

// familyOf is the command right below the root that cmd is, or is below of.
func familyOf(cmd *cobra.Command) *cobra.Command {
	for cmd.Parent().HasParent() {
		cmd = cmd.Parent()
	}
	return cmd
}

// shared are the flags that cmd has from its family.
func shared(cmd *cobra.Command) *pflag.FlagSet {
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	set.SortFlags = false
	familyOf(cmd).PersistentFlags().VisitAll(func(f *pflag.Flag) {
		if cmd.LocalNonPersistentFlags().Lookup(f.Name) == nil {
			set.AddFlag(f)
		}
	})
	return set
}

// writeCommands lists what is below cmd, in groups where there are some.
func writeCommands(cmd *cobra.Command, section func(title, body string)) {
	list := func(member func(*cobra.Command) bool) string {
		var b strings.Builder
		for _, c := range cmd.Commands() {
			if member(c) && !c.Hidden {
				fmt.Fprintf(&b, "  %-11s  %s\n", c.Name(), c.Short)
			}
		}
		return b.String()
	}
	for _, g := range cmd.Groups() {
		section(g.Title, list(func(c *cobra.Command) bool { return c.GroupID == g.ID && !isTopic(c) }))
	}
	section("Commands", list(func(c *cobra.Command) bool { return c.GroupID == "" && !isTopic(c) }))
	section("Topics", list(isTopic))
}
