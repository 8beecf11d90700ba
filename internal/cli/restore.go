package cli

import (
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

type restoreOptions struct {
	spec    model.RestoreSpec
	to      string
	preview bool
}

func newRestore(inv *invocation) *cobra.Command {
	var own restoreOptions
	opt := &operateOptions{planOptions: planOptions{operation: model.OpRestore}}
	cmd := &cobra.Command{
		Use:   "restore APP/RESOURCE",
		Short: "Bring one resource back to a state you name, into a folder or in place",
		Long: `The state is --to: latest, a time, or what the resource's record of changes knows: lsn:X, name:N, xid:N, before-xid:N
(just before that transaction); or immediate, the recovery point itself. lifeboat points shows what can be reached.

It is restored into a folder on this machine, with --site into one on that site's host, with --in-place over what the
resource has at the site, which must not be running. What will be done is shown first; --preview shows it and ends.
Nothing of the app is moved: no traffic, no roles. The copy is stopped at the end, unless --start.`,
		Example: `  lifeboat restore shop/db --to "2026-05-04 12:30:00" --into /srv/look
  lifeboat restore shop/db --to before-xid:48151 --site west --into /srv/look --start
  lifeboat restore shop/db --site east --in-place --preview`,
		Args:              wants("APP/RESOURCE"),
		SuggestFor:        []string{"recover", "pitr"},
		ValidArgsFunction: completeApps(inv),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := own.read(inv, cmd, opt, args[0]); err != nil {
			return err
		}
		if own.preview {
			return runPlan(cmd.Context(), inv, opt.planOptions)
		}
		return runOperation(cmd.Context(), inv, *opt)
	}
	withFormats(cmd, "text", "json")
	flags := cmd.Flags()
	flags.StringVar(&own.to, "to", "latest", "restore to this `STATE`")
	flags.StringVar(&own.spec.Folder, "into", "", "restore into this `FOLDER`")
	flags.StringVar(&own.spec.Name, "as", "", "restore under this `NAME`, for what has a name rather than a folder, such as a database of a provider")
	flags.StringVar(&opt.planOptions.to, "site", "", "on the host of this `SITE` (default: on this machine)")
	flags.BoolVar(&own.spec.InPlace, "in-place", false, "restore over what the resource has at --site")
	flags.StringVar(&own.spec.Point, "point", "", "begin from this recovery point: its `ID` or the beginning of it (default: the best one)")
	flags.BoolVar(&own.spec.Run, "start", false, "leave the restored copy running")
	flags.BoolVar(&own.preview, "preview", false, "show what it would do and how long that takes; change nothing")
	flags.BoolVar(&opt.yes, "yes", false, "do not ask for confirmation")
	for _, flag := range []string{"to", "site", "point"} {
		complete(cmd, flag, cobra.NoFileCompletions)
	}
	_ = cmd.MarkFlagDirname("into")
	opt.flags(cmd)
	return cmd
}

// read turns the flags into what is asked for, and finds what cannot go together.
func (o *restoreOptions) read(inv *invocation, cmd *cobra.Command, opt *operateOptions, typed string) error {
	app, resource, err := splitResource(cmd, typed)
	if err != nil {
		return err
	}
	site := opt.planOptions.to
	switch {
	case resource == "":
		return usageError(cmd, "restore: %q names no resource", typed).WithHint("write APP/RESOURCE, as in shop/db")
	case o.spec.InPlace && o.spec.Folder != "":
		return usageError(cmd, "restore: --in-place and --into exclude each other")
	case o.spec.Name != "" && (o.spec.InPlace || o.spec.Folder != ""):
		return usageError(cmd, "restore: --as goes with neither --into nor --in-place")
	case o.spec.InPlace && site == "":
		return usageError(cmd, "restore: --in-place needs --site").WithHint("name the site whose copy is written over")
	case !o.spec.InPlace && o.spec.Folder == "" && o.spec.Name == "":
		return usageError(cmd, "restore: --into is missing").WithHint("name a folder: --into FOLDER; or a copy: --as NAME; or restore over what is there: --site SITE --in-place")
	case site != "" && o.spec.Folder != "" && !filepath.IsAbs(o.spec.Folder):
		return usageError(cmd, "restore: --into %q is not absolute", o.spec.Folder).WithHint("write the whole path on the site's host")
	}
	if err := opt.check(cmd); err != nil {
		return err
	}
	if site == "" && o.spec.Name == "" {
		o.spec.Here = true
		if !filepath.IsAbs(o.spec.Folder) {
			dir, err := inv.Getwd()
			if err != nil {
				return failure.WrapAs(failure.NotFound, err, "find", "the current folder")
			}
			o.spec.Folder = filepath.Join(dir, o.spec.Folder)
		}
	}
	if o.spec.To, err = readState(cmd, o.to); err != nil {
		return err
	}
	opt.app, opt.resources, opt.restore = string(app), []string{string(resource)}, &o.spec
	opt.confirm = o.spec.InPlace && !o.preview
	return nil
}

// timeForms are the ways in which people write an instant; those without a zone are in the local one.
var timeForms = []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04", "2006-01-02T15:04"}

// readState writes a state as the service takes it: an instant in UTC.
func readState(cmd *cobra.Command, typed string) (string, error) {
	switch kind, value, found := strings.Cut(typed, ":"); {
	case typed == "latest", typed == "immediate":
		return typed, nil
	case found && (kind == "lsn" || kind == "name" || kind == "xid" || kind == "before-xid"):
		if value == "" {
			return "", usageError(cmd, "restore: --to %s: what follows the colon is missing", typed)
		}
		return typed, nil
	}
	for _, form := range timeForms {
		if at, err := time.ParseInLocation(form, typed, time.Local); err == nil {
			return at.UTC().Format(time.RFC3339Nano), nil
		}
	}
	return "", usageError(cmd, "restore: --to %q is no state", typed).
		WithHint("latest, immediate, a time such as \"2026-05-04 12:30:00\", lsn:0/3000060, name:N, xid:N, before-xid:N")
}
