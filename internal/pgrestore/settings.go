package pgrestore

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostexec"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore/ask"
)

// ofRecovery are settings of a recovery, or of whom a server follows: what a base point says of them is about another server
// and an earlier time.
func ofRecovery(name string) bool {
	switch name {
	case "restore_command", "archive_cleanup_command", "recovery_end_command", "primary_conninfo", "primary_slot_name",
		"promote_trigger_file", "synchronous_standby_names":
		return true
	}
	return strings.HasPrefix(name, "recovery_target")
}

// recoverySettings are what the server that conducts the recovery is started with. Nobody reaches it but through a socket in
// scratch, it reaches nobody, and what it does is written to its own log in words that are known. More are settings that
// must not be lower than the primary's.
func recoverySettings(o Options, c *course, more settings, scratch string) settings {
	major := c.base.Major
	s := settings{
		"data_directory":  o.Data,
		"config_file":     configFile(o, scratch),
		"hba_file":        filepath.Join(scratch, "pg_hba.conf"),
		"ident_file":      filepath.Join(scratch, "pg_ident.conf"),
		"hot_standby":     "on",
		"restore_command": restoreCommand(o, scratch),

		"listen_addresses": "", "unix_socket_directories": scratch, "unix_socket_permissions": "0700", "port": strconv.Itoa(o.Server.Port),
		"ssl": "off", "external_pid_file": filepath.Join(scratch, "pid"), "restart_after_crash": "off",
		"primary_conninfo": "", "primary_slot_name": "", "synchronous_standby_names": "", "max_logical_replication_workers": "0",
		"archive_command": "", "archive_cleanup_command": "", "recovery_end_command": "", "recovery_min_apply_delay": "0",
		"wal_retrieve_retry_interval": "100ms", "max_standby_archive_delay": "0", "max_standby_streaming_delay": "0",
		"logging_collector": "off", "log_destination": "stderr", "log_min_messages": "warning", "log_line_prefix": "%m [%p] ", "lc_messages": "C",

		"recovery_target": "", "recovery_target_time": "", "recovery_target_lsn": "", "recovery_target_name": "", "recovery_target_xid": "",
		"recovery_target_timeline": strconv.FormatUint(uint64(c.route.timeline), 10), "recovery_target_action": "pause",
	}
	if major >= 15 {
		s["archive_library"] = ""
	}
	if major < 16 {
		s["promote_trigger_file"] = ""
	}
	if major >= 14 {
		s["recovery_init_sync_method"] = "syncfs"
	}
	maps.Copy(s, more)
	if o.Server.Isolated {
		isolate(s, o, scratch)
	}
	maps.Copy(s, c.stop.settings())
	return s
}

// isolate adds what an isolated server has for as long as it runs.
func isolate(s settings, o Options, scratch string) {
	s["archive_mode"], s["fsync"], s["full_page_writes"], s["synchronous_commit"] = "off", "off", "off", "off"
	s["listen_addresses"] = o.Server.Listen
	if o.Server.Sockets != "" {
		s["unix_socket_directories"] = scratch + ", " + o.Server.Sockets
	}
	maps.Copy(s, o.Server.Settings)
}

// configFile is the server's main configuration file: the one that was named, else that of the data folder, else an empty
// one.
func configFile(o Options, scratch string) string {
	if o.Server.Config != "" {
		return o.Server.Config
	}
	own := filepath.Join(o.Data, "postgresql.conf")
	if _, err := os.Stat(own); err == nil || scratch == "SCRATCH" {
		return own
	}
	return filepath.Join(scratch, "postgresql.conf")
}

// restoreCommand takes a segment that waits already, or runs the program that asks us for it, and that replaces the shell.
func restoreCommand(o Options, scratch string) string {
	escape := func(s string) string { return strings.ReplaceAll(hostexec.Join([]string{s}), "%", "%%") }
	return "mv pg_wal/" + aheadFolder + "/%f %p 2>/dev/null || exec " + escape(o.Program) + " " + ask.Program + " " + escape(socketIn(scratch)) + " %f %p"
}

func socketIn(scratch string) string { return filepath.Join(scratch, "log") }

// writeScratch puts the files beside the data folder that the recovering server reads: who is let in, and a configuration for
// a cluster that has none.
func writeScratch(o Options, scratch string, own owner) error {
	hba := "local all all trust\n"
	if o.Server.Isolated && len(o.Server.HBA) > 0 {
		// Ours first: it is for the socket, which is in a folder that nobody else can enter unless the server has another one.
		hba = "local all " + strconv.Quote(o.Server.User) + " trust\n" + strings.Join(o.Server.HBA, "\n") + "\n"
	}
	for name, text := range map[string]string{"pg_hba.conf": hba, "pg_ident.conf": "", "postgresql.conf": ""} {
		path := filepath.Join(scratch, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return failure.WrapAs(failure.Denied, err, "write", path)
		}
		if err := own.give(path); err != nil {
			return err
		}
	}
	return nil
}

// lasting writes the settings that the restored cluster keeps to its postgresql.auto.conf, as ALTER SYSTEM does, and removes
// those there that were for another recovery or another server.
func lasting(o Options, own owner) error {
	path := filepath.Join(o.Data, autoConf)
	text, err := readOwn(path)
	if err != nil && !os.IsNotExist(err) {
		return failure.WrapAs(failure.Denied, err, "read", path)
	}
	set := settings{"primary_conninfo": "", "primary_slot_name": "", "synchronous_standby_names": ""}
	if !o.Server.Isolated {
		maps.Copy(set, o.Server.Settings)
	}
	return replaceFile(path, edited(string(text), set), own)
}

// edited is a configuration file with settings set, in the way of ALTER SYSTEM: one line each.
func edited(text string, set settings) []byte {
	var out strings.Builder
	for line := range strings.Lines(text) {
		name := strings.TrimSpace(line)
		if i := strings.IndexAny(name, " \t="); i >= 0 {
			name = name[:i]
		}
		name = strings.ToLower(name)
		if _, ours := set[name]; !ours && !ofRecovery(name) {
			out.WriteString(strings.TrimSuffix(line, "\n") + "\n")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		out.WriteString(name + " = " + quoteSetting(set[name]) + "\n")
	}
	return []byte(out.String())
}
