package cli

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// vaultFlags are the flags of every command below `lifeboat vault`: which vault, and how it is opened. Their names, and
// the variables that stand for them, are restic's.
type vaultFlags struct {
	compression    string
	packSize       int
	retain         time.Duration
	repo           *pflag.Flag // -r
	where          whereFlags
	noPassword     bool
	noLock         bool
	retryLock      time.Duration
	noCache        bool
	cacheDir       string
	upload         int64
	download       int64
	ca, clientCert string
	quiet          bool
}

// whereFlags name one vault and its password; prefix tells the source of a copy ("from-", RESTIC_FROM_) from the vault.
type whereFlags struct {
	repo, repoFile                string
	passwordFile, passwordCommand string
	keyHint                       string
}

func (f *vaultFlags) declare(flags *pflag.FlagSet) {
	flags.StringVarP(&f.where.repo, "repo", "r", "", "the vault: a `URL`, a folder, or a name in lifeboat.yaml (default: $RESTIC_REPOSITORY)")
	f.repo = flags.Lookup("repo")
	flags.StringVar(&f.where.repoFile, "repository-file", "", "read that from `FILE` (default: $RESTIC_REPOSITORY_FILE)")
	flags.StringVarP(&f.where.passwordFile, "password-file", "p", "", "read the password from `FILE` (default: $RESTIC_PASSWORD_FILE)")
	flags.StringVar(&f.where.passwordCommand, "password-command", "", "`COMMAND` that prints the password (default: $RESTIC_PASSWORD_COMMAND)")
	flags.BoolVar(&f.noPassword, "insecure-no-password", false, "the password is empty")
	flags.StringVar(&f.where.keyHint, "key-hint", "", "`ID` of the key to try first (default: $RESTIC_KEY_HINT)")
	flags.BoolVar(&f.noLock, "no-lock", false, "take no lock, to read where nothing can be written")
	flags.DurationVar(&f.retryLock, "retry-lock", 0, "try for `DURATION` while somebody else's lock stands in the way")
	flags.BoolVar(&f.noCache, "no-cache", false, "keep no copies of metadata on this machine")
	flags.StringVar(&f.cacheDir, "cache-dir", "", "keep them in `FOLDER` (default: $RESTIC_CACHE_DIR, else the user's cache folder)")
	flags.Int64Var(&f.upload, "limit-upload", 0, "upload at most `N` KiB a second")
	flags.Int64Var(&f.download, "limit-download", 0, "download at most `N` KiB a second")
	flags.StringVar(&f.compression, "compression", "", "`MODE`: auto, off, fastest, better or max (default: $RESTIC_COMPRESSION, else auto)")
	flags.IntVar(&f.packSize, "pack-size", 0, "store packs of about `N` MiB (default: $RESTIC_PACK_SIZE, else 16)")
	flags.DurationVar(&f.retain, "retain", 0, "in a bucket with Object Lock: let nobody delete what is written for `DURATION`")
	flags.StringVar(&f.ca, "cacert", "", "`FILE` with the authority of the server's certificate (default: $RESTIC_CACERT)")
	flags.StringVar(&f.clientCert, "tls-client-cert", "", "`FILE` with our certificate and its key (default: $RESTIC_TLS_CLIENT_CERT)")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "show no progress")
}

// declareFrom declares the flags of a second vault, whose data or parameters are taken.
func (f *whereFlags) declareFrom(flags *pflag.FlagSet, what string) {
	flags.StringVar(&f.repo, "from-repo", "", "the `VAULT` "+what+", as with -r (default: $RESTIC_FROM_REPOSITORY)")
	flags.StringVar(&f.repoFile, "from-repository-file", "", "read that from `FILE` (default: $RESTIC_FROM_REPOSITORY_FILE)")
	f.declareFromPassword(flags)
}

// declareCopy is declareFrom for a vault that is only asked when it is named by a flag.
func (f *whereFlags) declareCopy(flags *pflag.FlagSet) {
	flags.StringVar(&f.repo, "from-repo", "", "a `VAULT` with copies of what is damaged here, as with -r")
	flags.StringVar(&f.repoFile, "from-repository-file", "", "read that from `FILE`")
	f.declareFromPassword(flags)
}

func (f *whereFlags) declareFromPassword(flags *pflag.FlagSet) {
	flags.StringVar(&f.passwordFile, "from-password-file", "", "read its password from `FILE` (default: $RESTIC_FROM_PASSWORD_FILE)")
	flags.StringVar(&f.passwordCommand, "from-password-command", "", "`COMMAND` that prints it (default: $RESTIC_FROM_PASSWORD_COMMAND)")
	flags.StringVar(&f.keyHint, "from-key-hint", "", "`ID` of its key to try first (default: $RESTIC_FROM_KEY_HINT)")
}

// side is one of the two vaults that a command line can name: words for messages, and the start of variables' names.
type side struct {
	flag   string // "" or "from-"
	env    string // "RESTIC_" or "RESTIC_FROM_"
	vault  string // for people
	prompt string
}

var (
	ownSide  = side{"", "RESTIC_", "the vault", "password of the vault: "}
	fromSide = side{"from-", "RESTIC_FROM_", "the vault to take from", "password of the vault to take from: "}
	toSide   = side{"to-", "", "the vault to copy to", "password of the vault to copy to: "}
)

// variable reads one of the side's variables.
func (s side) variable(getenv func(string) string, name string) string {
	if s.env == "" {
		return ""
	}
	return getenv(s.env + name)
}

// ways are how a password can be given.
func (s side) ways() string {
	text := "--" + s.flag + "password-file or --" + s.flag + "password-command"
	if s.env != "" {
		text = "--" + s.flag + "password-file, --" + s.flag + "password-command or " + s.env + "PASSWORD"
	}
	return text
}

// repoFlag is how the flag for the vault is written.
func (s side) repoFlag() string {
	switch s {
	case ownSide:
		return "-r"
	case toSide:
		return "--to"
	}
	return "--" + s.flag + "repo"
}

// access gives the vault that the flags, the variables or the configuration name, with its password.
func (v *vaultCommand) access(ctx context.Context, svc api.Vaults) (api.VaultAccess, error) {
	a, err := v.place(ctx, svc, v.flags.where, ownSide)
	if err != nil {
		return a, err
	}
	return a, v.unlockWith(ctx, &a, v.flags.where, ownSide)
}

// accessOf gives the second vault, on another side.
func (v *vaultCommand) accessOf(ctx context.Context, svc api.Vaults, w whereFlags, s side) (api.VaultAccess, error) {
	a, err := v.place(ctx, svc, w, s)
	if err != nil {
		return a, err
	}
	return a, v.unlockWith(ctx, &a, w, s)
}

// place says where the vault is and how it is reached, without its password.
func (v *vaultCommand) place(ctx context.Context, svc api.Vaults, w whereFlags, s side) (api.VaultAccess, error) {
	var a api.VaultAccess
	if s == ownSide && v.flags.repo.Changed && w.repo == "" {
		return a, failure.New(failure.Invalid, "", "", "-r is empty").WithHint("write -r and a folder, a URL or a name in lifeboat.yaml")
	}
	url, err := v.url(w, s)
	if err != nil {
		return a, err
	}
	if a.Vault, err = v.named(ctx, svc, url, s); err != nil {
		return a, err
	}
	f := &v.flags
	a.NoLock, a.RetryLock = f.noLock, model.Duration(f.retryLock)
	a.KeyHint = first(w.keyHint, s.variable(v.Getenv, "KEY_HINT"))
	for _, limit := range []struct {
		name  string
		value int64
		into  *int64
	}{{"upload", f.upload, &a.Vault.Upload}, {"download", f.download, &a.Vault.Download}} {
		switch {
		case limit.value < 0:
			return a, failure.New(failure.Invalid, "", "", "--limit-%s %d is negative", limit.name, limit.value).WithHint("leave it out for no limit")
		case limit.value > 0:
			*limit.into = limit.value << 10
		}
	}
	if f.retryLock < 0 {
		return a, failure.New(failure.Invalid, "", "", "--retry-lock %s is negative", f.retryLock).WithHint("write --retry-lock 5m")
	}
	if f.retain < 0 {
		return a, failure.New(failure.Invalid, "", "", "--retain %s is negative", f.retain).WithHint("write --retain 720h")
	}
	if f.retain > 0 {
		a.Vault.Retain = model.Duration(f.retain)
	}
	a.Compression = first(f.compression, v.Getenv("RESTIC_COMPRESSION"))
	if a.PackSize, err = packSize(f.packSize, v.Getenv("RESTIC_PACK_SIZE")); err != nil {
		return a, err
	}
	a.Vault.Cache = first(f.cacheDir, a.Vault.Cache, v.Getenv("RESTIC_CACHE_DIR"))
	if f.noCache {
		a.Vault.Cache = "none"
	}
	a.Vault.CA = first(f.ca, a.Vault.CA, v.Getenv("RESTIC_CACERT"))
	if cert := first(f.clientCert, v.Getenv("RESTIC_TLS_CLIENT_CERT")); cert != "" && (f.clientCert != "" || a.Vault.Cert == "") {
		a.Vault.Cert, a.Vault.Key = cert, cert // restic has both in one file
	}
	if v.Getenv("RESTIC_REST_USERNAME") != "" && a.Vault.User == "" {
		a.Vault.User = v.Getenv("RESTIC_REST_USERNAME")
		if v.Getenv("RESTIC_REST_PASSWORD") != "" {
			a.Vault.UserPassword = "env:RESTIC_REST_PASSWORD"
		}
	}
	return a, nil
}

// url is what names the vault.
func (v *vaultCommand) url(w whereFlags, s side) (string, error) {
	file := w.repoFile
	if w.repo == "" && file == "" {
		w.repo, file = s.variable(v.Getenv, "REPOSITORY"), s.variable(v.Getenv, "REPOSITORY_FILE")
	}
	switch {
	case w.repo != "" && file != "":
		return "", failure.New(failure.Invalid, "", "", "%s is named both by %s and by --%srepository-file", s.vault, s.repoFlag(), s.flag).
			WithHint("leave one of them out; the variables %sREPOSITORY and %sREPOSITORY_FILE stand for them", s.env, s.env)
	case w.repo != "":
		return w.repo, nil
	case file != "":
		text, err := readSmall(file, "--"+s.flag+"repository-file")
		if err == nil && text == "" {
			err = failure.New(failure.Invalid, "read", file, "it is empty").WithHint("write the vault's URL into it")
		}
		return text, err
	}
	return "", failure.New(failure.Invalid, "", "", "%s is not named", s.vault).
		WithHint("write %s and a folder, a URL or a name in lifeboat.yaml, or set %sREPOSITORY", s.repoFlag(), s.env)
}

// vaultName is what a vault's name in lifeboat.yaml looks like; a path or a URL has other characters.
var vaultName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)

// named gives the vault of that name in lifeboat.yaml, or else the one at that URL. A word that is neither a name there
// nor a folder is NotFound, unless a vault is about to be made.
func (v *vaultCommand) named(ctx context.Context, svc api.Vaults, url string, s side) (model.Vault, error) {
	if !vaultName.MatchString(url) {
		return model.Vault{URL: url}, nil
	}
	if v.unfound != nil {
		return model.Vault{}, failure.Wrap(v.unfound, "look for the vault", url)
	}
	if v.config != "" {
		if _, err := os.Stat(v.config); err != nil {
			return model.Vault{}, failure.WrapAs(failure.NotFound, err, "look for the vault "+url, "").WithHint("name a configuration that is there with -c, or write ./%s for a folder", url)
		}
	}
	found, err := svc.Named(ctx, url)
	switch {
	case err == nil:
		return *found, nil
	case failure.KindOf(err) != failure.NotFound:
		return model.Vault{}, failure.Wrap(err, "look for the vault", url)
	}
	if _, err := os.Stat(url); errors.Is(err, fs.ErrNotExist) && !(v.newVault && s == ownSide) {
		return model.Vault{}, failure.New(failure.NotFound, "find the vault", url, "there is neither such a vault in lifeboat.yaml nor such a folder").
			WithHint("write its name as in lifeboat.yaml, a folder or a URL; make one with: lifeboat vault init")
	}
	return model.Vault{URL: url}, nil
}

// unlockWith finds the password: flags go before the configuration, which goes before variables, which go before asking.
func (v *vaultCommand) unlockWith(ctx context.Context, a *api.VaultAccess, w whereFlags, s side) error {
	given := w.passwordFile != "" || w.passwordCommand != ""
	switch {
	case v.flags.noPassword && s == ownSide:
		if given {
			return failure.New(failure.Invalid, "", "", "--insecure-no-password and a password exclude each other").
				WithHint("leave one of them out")
		}
		a.Password = new(api.Passphrase)
		return nil
	case !given && a.Vault.Password != "":
		return nil
	case !given:
		w.passwordFile, w.passwordCommand = s.variable(v.Getenv, "PASSWORD_FILE"), s.variable(v.Getenv, "PASSWORD_COMMAND")
	}
	text, err := v.password(ctx, w, s)
	a.Password = &text
	return err
}

// password reads the password from where w or the variable says, or asks for it.
func (v *vaultCommand) password(ctx context.Context, w whereFlags, s side) (api.Passphrase, error) {
	switch {
	case w.passwordFile != "" && w.passwordCommand != "":
		return "", failure.New(failure.Invalid, "", "", "the password is to come both from a file and from a command").
			WithHint("leave one of --%spassword-file and --%spassword-command out (%sPASSWORD_FILE, %sPASSWORD_COMMAND)", s.flag, s.flag, s.env, s.env)
	case w.passwordFile != "":
		return passwordIn(w.passwordFile, "--"+s.flag+"password-file")
	case w.passwordCommand != "":
		return v.passwordFrom(ctx, w.passwordCommand, "--"+s.flag+"password-command")
	}
	if text := s.variable(v.Getenv, "PASSWORD"); text != "" {
		return api.Passphrase(text), nil
	}
	if v.newVault && s == ownSide {
		return v.askNewPassword(ctx, "password for the new vault: ")
	}
	text, err := v.askPassword(ctx, s.prompt)
	if err != nil && failure.KindOf(err) == failure.Invalid {
		err = failure.New(failure.Invalid, "", "", "no password is given for %s", s.vault).WithHint("type it, or name it with %s", s.ways())
	}
	return text, err
}

// passwordIn reads the password in a file; blanks around it do not count, as with restic.
func passwordIn(path, flag string) (api.Passphrase, error) {
	text, err := readSmall(path, flag)
	if err == nil && text == "" {
		err = failure.New(failure.Invalid, "read", path, "there is no password in it").WithHint("write the password into it, in one line")
	}
	return api.Passphrase(text), err
}

// readSmall reads a file of one line. A byte order mark and blanks around the text do not count.
func readSmall(path, flag string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		kind := failure.Denied
		if errors.Is(err, fs.ErrNotExist) {
			kind = failure.NotFound
		}
		return "", failure.WrapAs(kind, err, flag, "").WithHint("name a file that is there and can be read")
	}
	defer f.Close()
	const most = 1 << 20
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return "", failure.WrapAs(failure.Unavailable, err, flag, path)
	case len(text) > most:
		return "", failure.New(failure.Invalid, flag, path, "it is longer than a megabyte").WithHint("name the right file")
	}
	return strings.TrimSpace(strings.TrimPrefix(string(text), "\ufeff")), nil
}

// passwordFrom runs a command in the shell and takes what it prints.
func (v *vaultCommand) passwordFrom(ctx context.Context, line, flag string) (api.Passphrase, error) {
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Stderr = v.Err
	out, err := cmd.Output()
	if err != nil {
		return "", failure.WrapAs(failure.Denied, err, flag, "").WithHint("run the command by itself and see what it says")
	}
	text := strings.TrimSpace(string(out))
	if text == "" {
		return "", failure.New(failure.Invalid, flag, "", "the command printed no password").WithHint("run the command by itself and see what it prints")
	}
	return api.Passphrase(text), nil
}

// askPassword asks the person at the terminal, without showing what is typed; elsewhere it is the first line of standard
// input.
func (v *vaultCommand) askPassword(ctx context.Context, prompt string) (api.Passphrase, error) {
	typed, err := v.readPassword(ctx, prompt)
	switch {
	case ctx.Err() != nil:
		return "", failure.New(failure.Canceled, "", "", "interrupted; nothing was done")
	case err != nil || typed == "":
		return "", failure.New(failure.Invalid, "", "", "no password is given").
			WithHint("type it, or name it with --password-file, --password-command or RESTIC_PASSWORD")
	}
	return api.Passphrase(typed), nil
}

// askNewPassword asks twice at a terminal.
func (v *vaultCommand) askNewPassword(ctx context.Context, prompt string) (api.Passphrase, error) {
	typed, err := v.askPassword(ctx, prompt)
	if err != nil || !v.interactive() {
		return typed, err
	}
	again, err := v.askPassword(ctx, "once more: ")
	if err == nil && again != typed {
		err = failure.New(failure.Invalid, "", "", "the two passwords differ; nothing was done").WithHint("try again")
	}
	return typed, err
}

func (v *vaultCommand) readPassword(ctx context.Context, prompt string) (string, error) {
	if !v.interactive() {
		if v.inputTaken {
			return "", io.EOF
		}
		return v.lines.readWhole(ctx)
	}
	_, _ = io.WriteString(v.Err, prompt)
	in, isFile := v.In.(*os.File)
	if !isFile {
		return v.lines.readWhole(ctx)
	}
	defer io.WriteString(v.Err, "\n")
	state, err := term.GetState(int(in.Fd()))
	if err != nil {
		return "", err
	}
	type answer struct {
		text []byte
		err  error
	}
	answers := make(chan answer, 1)
	go func() { // outlives an interrupt, as every read of a terminal does; the process ends then
		text, err := term.ReadPassword(int(in.Fd()))
		answers <- answer{text, err}
	}()
	select {
	case a := <-answers:
		return string(a.text), a.err
	case <-ctx.Done():
		_ = term.Restore(int(in.Fd()), state) // show what is typed again
		return "", context.Cause(ctx)
	}
}

// first gives the first text that is not empty.
func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// splitTags takes a list of tags apart. The empty text is the list without tags.
func splitTags(text string) []string {
	list := []string{}
	for _, tag := range strings.Split(text, ",") {
		if tag = strings.TrimSpace(tag); tag != "" {
			list = append(list, tag)
		}
	}
	return list
}

// packSize is in MiB, by flag or variable, and within what restic takes; zero is the usual size.
func packSize(flag int, variable string) (int64, error) {
	if flag == 0 && variable != "" {
		n, err := strconv.Atoi(variable)
		if err != nil {
			return 0, failure.New(failure.Invalid, "", "", "RESTIC_PACK_SIZE %q is no number", variable).WithHint("write a number of MiB, 4 to 128")
		}
		flag = n
	}
	if flag != 0 && (flag < 4 || flag > 128) {
		return 0, failure.New(failure.Invalid, "", "", "packs of %d MiB cannot be stored", flag).WithHint("write --pack-size 4 to 128")
	}
	return int64(flag) << 20, nil
}

// parseSize reads a size as restic has it: bytes, or with k, m, g or t for binary multiples.
func parseSize(text string) (int64, error) {
	digits, unit := text, int64(1)
	if n := len(text); n > 0 {
		if i := strings.IndexByte("bkmgt", text[n-1]|0x20); i >= 0 {
			digits, unit = text[:n-1], 1<<(10*i)
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > (1<<63-1)/unit {
		return 0, failure.New(failure.Invalid, "", "", "%q is no size", text).WithHint("write bytes, or with a unit: 500K, 20M, 1G, 2T")
	}
	return n * unit, nil
}

// inFlag is a wrong value of a flag.
func inFlag(cmd *cobra.Command, flag string, err error) error {
	hint := failure.HintOf(err)
	if hint == "" {
		hint = "write --" + flag + " " + valueName(cmd.Flags().Lookup(flag))
	}
	return usageError(cmd, "%s: --%s: %v", name(cmd), flag, err).WithHint("%s", hint)
}

// numberOr is a flag's value, or when it is not given the variable's.
func numberOr(cmd *cobra.Command, flag string, value int, variable string) (int, error) {
	if !cmd.Flags().Changed(flag) && variable != "" {
		n, err := strconv.Atoi(variable)
		if err != nil {
			return 0, inFlag(cmd, flag, failure.New(failure.Invalid, "", "", "%q of its variable is no number", variable))
		}
		value = n
	}
	if value < 0 {
		return 0, inFlag(cmd, flag, failure.New(failure.Invalid, "", "", "%d is negative", value))
	}
	return value, nil
}
