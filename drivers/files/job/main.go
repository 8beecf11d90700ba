package job

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// Main runs the job whose folder is args[0]. Its error was written down for whoever watches.
func Main(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return failure.New(failure.Invalid, Program, "", "it is started by lifeboat itself, with the folder of a job")
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	w := &worker{dir: args[0], log: newLog(os.Stderr)}
	err := w.run(ctx)
	if err != nil && ctx.Err() != nil {
		err = failure.New(failure.Canceled, "", "", "the job was told to stop: %v", err)
	}
	if err != nil {
		err = failure.From(err)
		text, encodeErr := json.Marshal(err)
		if encodeErr == nil {
			w.values["failure"] = string(text)
		}
	}
	if writeErr := w.writeValues(); writeErr != nil && err == nil {
		err = writeErr
	}
	return err
}

// worker does one request.
type worker struct {
	dir    string
	req    Request
	log    logger
	values map[string]string

	said string    // the phase as it was written last
	when time.Time // and when
}

func (w *worker) run(ctx context.Context) error {
	w.values = map[string]string{}
	text, err := os.ReadFile(filepath.Join(w.dir, "secret"))
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "read the request of", w.dir)
	}
	if err := json.Unmarshal(text, &w.req); err != nil {
		return failure.WrapAs(failure.Corrupt, err, "read the request of", w.dir)
	}
	if err := w.req.unseal(); err != nil {
		return err
	}
	ops := map[Op]func(context.Context) error{
		Capture: w.capture, Quiesce: w.quiesce, Promote: w.promote, Follow: w.follow, Drill: w.drill, Copy: w.copy, Expire: w.expire,
	}
	op, ok := ops[w.req.Op]
	if !ok {
		return failure.New(failure.Unsupported, Program, string(w.req.Op), "this build does not know it").
			WithHint("install the same version of lifeboat on the host")
	}
	return op(ctx)
}

// phase tells people what is done now, at most a few times a second.
func (w *worker) phase(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if text == w.said || time.Since(w.when) < 250*time.Millisecond && w.said != "" && strings.HasPrefix(text, w.said[:min(len(w.said), 8)]) {
		return
	}
	w.said, w.when = text, time.Now()
	_ = replace(filepath.Join(w.dir, "phase"), []byte(oneLine(text)+"\n")) // for people; the result does not depend on it
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// writeValues leaves the result, whole or not at all.
func (w *worker) writeValues() error {
	var b strings.Builder
	for name, value := range w.values {
		b.WriteString(name + "=" + strings.ReplaceAll(value, "\n", " ") + "\n")
	}
	if err := replace(filepath.Join(w.dir, "values"), []byte(b.String())); err != nil {
		return failure.WrapAs(failure.Unavailable, err, "write the result to", w.dir)
	}
	return nil
}

// replace writes a file in place of what is there, durably.
func replace(path string, content []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// rename moves a folder and makes that durable.
func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return failure.WrapAs(failure.Denied, err, "rename", from)
	}
	dir, err := os.Open(filepath.Dir(to))
	if err != nil {
		return failure.WrapAs(failure.Denied, err, "open", filepath.Dir(to))
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return failure.WrapAs(failure.Unavailable, err, "flush", filepath.Dir(to))
	}
	return nil
}

func exists(path string) (bool, error) {
	info, err := os.Lstat(path)
	switch {
	case os.IsNotExist(err):
		return false, nil
	case err != nil:
		return false, failure.WrapAs(failure.Denied, err, "look at", path)
	case !info.IsDir():
		return false, failure.New(failure.Conflict, "look at", path, "it is no folder")
	}
	return true, nil
}
