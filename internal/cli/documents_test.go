package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// fakeDocuments reads a toy configuration: each line is "app NAME" or "plan NAME", and everything else is a mistake.
type fakeDocuments struct{}

func (fakeDocuments) Init(_ context.Context, path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return failure.New(failure.Exists, "write", path, "it is there already").WithHint("edit it, or name another path")
	}
	if err != nil {
		return failure.WrapAs(failure.Denied, err, "write", path)
	}
	_, err = f.WriteString("app shop\n")
	return errors.Join(err, f.Close())
}

func (fakeDocuments) Validate(_ context.Context, path string) (*api.ValidateReply, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, failure.New(failure.NotFound, "read", path, "there is no such file")
	}
	reply := &api.ValidateReply{Path: path, Sites: 2}
	for i, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		switch word, rest, _ := strings.Cut(line, " "); word {
		case "app":
			reply.Apps, reply.AppIDs = reply.Apps+1, append(reply.AppIDs, model.AppID(rest))
		case "plan":
			reply.Plans, reply.PlanNames = reply.Plans+1, append(reply.PlanNames, rest)
		default:
			reply.Problems = append(reply.Problems, api.Problem{
				File: path, Line: i + 1, Column: 1, Source: line, Message: fmt.Sprintf("unknown field %q", word), Hint: "did you mean app?",
			})
		}
	}
	return reply, nil
}

func (fakeDocuments) Schema(context.Context) ([]byte, error) {
	return []byte(`{"type": "object"}`), nil
}

// Payload reads a toy document: it has one action, and each line that says "wrong" is a mistake.
func (fakeDocuments) Payload(_ context.Context, file string, content []byte) (*model.Payload, error) {
	p := &model.Payload{File: file, Remarks: []model.PayloadRemark{}, Layers: []model.PayloadLayer{{Number: "1", Actions: []model.PayloadAction{{
		Path: "StatePayload[0].resources[0]", Line: 1, Name: "shop's database", Type: "PromoteRDSReadReplica", Original: "promotes", Lifeboat: "fences and promotes",
		Parameters: []model.PayloadParameter{{Name: "RDSInstanceIdentifier", From: model.FromExport, Text: "shop-db"}},
	}}}}}
	for i, line := range strings.Split(string(content), "\n") {
		if strings.Contains(line, "wrong") {
			p.Remarks = append(p.Remarks, model.PayloadRemark{Severity: model.Block, Code: "payload-type", Path: "StatePayload", Line: i + 1, Column: 1, What: "that is wrong", Why: "the framework does nothing", Fix: "mend it"})
		}
	}
	return p, nil
}

func (fakeDocuments) Render(_ context.Context, r *api.Report, format string) ([]byte, error) {
	if format == "json" {
		b, err := json.MarshalIndent(r, "", "  ")
		return append(b, '\n'), err
	}
	return fmt.Appendf(nil, "<%s> %s %s\n", format, r.Run.ID, r.Run.Status), nil
}

func (fakeDocuments) VerifyReport(_ context.Context, b []byte) (*api.VerifyReply, error) {
	var r api.Report
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, failure.WrapAs(failure.Corrupt, err, "read", "report")
	}
	if bytes.Contains(b, []byte("tampered")) {
		return &api.VerifyReply{Problem: "event 3 is not what was signed"}, nil
	}
	return &api.VerifyReply{Valid: true, PublicKey: "ed25519:abc", Events: len(r.Events)}, nil
}
