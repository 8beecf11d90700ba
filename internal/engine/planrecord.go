package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// A plan is recorded as its JSON, compressed. It is written and read a step at a time: of ten thousand steps that need
// a hundred others each, the text alone is tens of megabytes.
const (
	maxPlanBytes = 1 << 30 // what a compressed plan may unfold to
	planWindow   = 1 << 20 // bytes that the compressor looks back over
)

// encodePlan compresses a plan and cuts it into pages.
func encodePlan(p *model.Plan) ([][]byte, error) {
	var buf bytes.Buffer
	w, err := zstd.NewWriter(&buf, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(planWindow))
	if err == nil {
		err = errors.Join(p.Encode(w), w.Close())
	}
	if err != nil {
		return nil, failure.WrapAs(failure.Internal, err, "compress plan", p.Name)
	}
	packed := buf.Bytes()
	var pages [][]byte
	for len(packed) > pageBytes {
		pages = append(pages, packed[:pageBytes])
		packed = packed[pageBytes:]
	}
	return append(pages, packed), nil
}

func decodePlan(packed []byte, name string) (*model.Plan, error) {
	r, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, failure.WrapAs(failure.Internal, err, "read plan", name)
	}
	defer r.Close()
	p, err := parsePlan(io.LimitReader(r, maxPlanBytes))
	if err != nil {
		return nil, failure.WrapAs(failure.Corrupt, err, "read plan", name).WithHint(damaged)
	}
	return p, nil
}

// parsePlan reads a plan's JSON.
func parsePlan(r io.Reader) (*model.Plan, error) {
	dec := json.NewDecoder(r)
	if err := expect(dec, json.Delim('{')); err != nil {
		return nil, err
	}
	rest := map[string]json.RawMessage{}
	var steps []model.Step
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		if key == "steps" {
			steps, err = parseSteps(dec)
		} else {
			var value json.RawMessage
			err = dec.Decode(&value)
			rest[fmt.Sprint(key)] = value
		}
		if err != nil {
			return nil, err
		}
	}
	if err := expect(dec, json.Delim('}')); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.Join(errors.New("something follows the plan"), err)
	}
	var p model.Plan
	text, err := json.Marshal(rest)
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	p.Steps = steps
	return &p, err
}

// parseSteps reads the array of steps, or null. Steps that need the same share one list of it.
func parseSteps(dec *json.Decoder) ([]model.Step, error) {
	first, err := dec.Token()
	if err != nil || first == nil {
		return nil, err
	}
	if first != json.Delim('[') {
		return nil, fmt.Errorf("steps are %v", first)
	}
	steps := []model.Step{}
	var shared []model.StepID
	for dec.More() {
		var step model.Step
		if err := dec.Decode(&step); err != nil {
			return nil, err
		}
		if slices.Equal(step.Needs, shared) {
			step.Needs = shared
		}
		shared = step.Needs
		steps = append(steps, step)
	}
	return steps, expect(dec, json.Delim(']'))
}

func expect(dec *json.Decoder, want json.Delim) error {
	got, err := dec.Token()
	if err == nil && got != want {
		err = fmt.Errorf("%v where %v is due", got, want)
	}
	return err
}
