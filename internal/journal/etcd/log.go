package etcd

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"sync"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// etcdLog carries etcd's own log to slog: what etcd says of itself is of interest to who debugs it only, so all of it is
// at level debug, except what it says before it gives up.
type etcdLog struct {
	to     *slog.Logger
	fields []zapcore.Field
}

// newZap makes the logger that etcd gets. down is told when etcd gives up.
func newZap(to *slog.Logger, down *giveUp) *zap.Logger {
	return zap.New(&etcdLog{to: to}, zap.WithFatalHook(down))
}

// Enabled implements zapcore.Core.
func (l *etcdLog) Enabled(level zapcore.Level) bool {
	return l.to.Enabled(context.Background(), slogLevel(level))
}

// With implements zapcore.Core.
func (l *etcdLog) With(fields []zapcore.Field) zapcore.Core {
	return &etcdLog{to: l.to, fields: append(slices.Clip(l.fields), fields...)}
}

// Check implements zapcore.Core.
func (l *etcdLog) Check(entry zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if l.Enabled(entry.Level) {
		return ce.AddCore(entry, l)
	}
	return ce
}

// Write implements zapcore.Core.
func (l *etcdLog) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	attrs := []any{"level", entry.Level.String()}
	all := encode(append(slices.Clip(l.fields), fields...))
	for _, key := range slices.Sorted(maps.Keys(all)) {
		attrs = append(attrs, key, all[key])
	}
	l.to.Log(context.Background(), slogLevel(entry.Level), entry.Message, slog.Group("etcd", attrs...))
	return nil
}

// Sync implements zapcore.Core.
func (l *etcdLog) Sync() error { return nil }

func slogLevel(level zapcore.Level) slog.Level {
	if level >= zapcore.DPanicLevel {
		return slog.LevelError
	}
	return slog.LevelDebug
}

func encode(fields []zapcore.Field) map[string]any {
	enc := zapcore.NewMapObjectEncoder()
	for _, field := range fields {
		field.AddTo(enc)
	}
	return enc.Fields
}

// giveUp stands in for the os.Exit(1) that etcd ends in when its log cannot be written or read: a full disk would make
// every command vanish without a word. Instead the goroutine that met the error ends, which stops the member for good
// (nothing it had not saved is acknowledged), and the host closes it and says why.
type giveUp struct {
	once   sync.Once
	c      chan struct{} // closed when etcd gave up
	reason error
}

func newGiveUp() *giveUp { return &giveUp{c: make(chan struct{})} }

// OnWrite implements zapcore.CheckWriteHook for fatal entries.
func (g *giveUp) OnWrite(entry *zapcore.CheckedEntry, fields []zapcore.Field) {
	g.once.Do(func() {
		g.reason = errors.New(entry.Message)
		for _, field := range fields {
			if cause, ok := field.Interface.(error); ok && field.Type == zapcore.ErrorType {
				g.reason = &gaveUp{entry.Message, cause}
			}
		}
		close(g.c)
	})
	runtime.Goexit()
}

// gaveUp is why etcd gave up.
type gaveUp struct {
	message string
	cause   error
}

// Error implements error.
func (e *gaveUp) Error() string { return e.message + ": " + e.cause.Error() }

// Unwrap gives the cause.
func (e *gaveUp) Unwrap() error { return e.cause }
