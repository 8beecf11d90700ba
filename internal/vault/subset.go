package vault

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// Subset is a part of a vault's packs, as restic's check --read-data-subset has it. The zero Subset is all of them.
type Subset struct {
	part, of int     // one of several parts that never change; of is 0: a random choice
	percent  float64 // of the packs
	size     int64   // bytes
	text     string
}

// maxParts is how many parts there can be: the first byte of a pack's id decides.
const maxParts = 256

// ParseSubset reads "n/t" (the n-th of t parts, which together are everything), "x%" (that share of the packs, chosen
// anew at random each time) or a size such as "50M" (as much, chosen at random). "" is all. Anything else is Invalid.
func ParseSubset(text string) (Subset, error) {
	invalid := func() (Subset, error) {
		return Subset{}, failure.New(failure.Invalid, "read a subset", text, "it is neither a part, a percentage nor a size").
			WithHint("such as 1/5 (with 1 ≤ n ≤ t ≤ 256), 2.5%% or 10G")
	}
	s := Subset{text: text}
	if text == "" {
		return s, nil
	}
	if n, t, found := strings.Cut(text, "/"); found {
		part, err := strconv.ParseUint(n, 10, 16)
		of, oerr := strconv.ParseUint(t, 10, 16)
		if err != nil || oerr != nil || part < 1 || part > of || of > maxParts {
			return invalid()
		}
		s.part, s.of = int(part), int(of)
		return s, nil
	}
	if share, found := strings.CutSuffix(text, "%"); found {
		var err error
		s.percent, err = strconv.ParseFloat(share, 64)
		if err != nil || !(s.percent > 0 && s.percent <= 100) {
			return invalid()
		}
		return s, nil
	}
	digits, shift := text, 0
	if i := strings.IndexByte("KMGT", bytes.ToUpper([]byte(text[len(text)-1:]))[0]); i >= 0 {
		digits, shift = text[:len(text)-1], 10*(i+1)
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n <= 0 || n > math.MaxInt64>>shift {
		return invalid()
	}
	s.size = n << shift
	return s, nil
}

// String gives what ParseSubset read.
func (s Subset) String() string { return s.text }

// choose gives the packs that belong to the subset; of a random one at least one pack.
func (s Subset) choose(sizes map[object.ID]int64) map[object.ID]bool {
	chosen := map[object.ID]bool{}
	ids := make([]object.ID, 0, len(sizes))
	total := int64(0)
	for id, size := range sizes {
		if s.of > 0 && int(id[0])%s.of != s.part-1 {
			continue
		}
		ids = append(ids, id)
		total += size
	}
	count := len(ids)
	if s.of == 0 && s.percent > 0 {
		count = max(1, int(s.percent/100*float64(len(ids))))
	}
	slices.SortFunc(ids, object.ID.Compare)
	rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	for taken := int64(0); len(ids) > 0 && count > 0 && (s.size == 0 || taken < s.size); count-- {
		chosen[ids[0]] = true
		taken += sizes[ids[0]]
		ids = ids[1:]
	}
	return chosen
}
