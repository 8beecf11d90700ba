package pgpoint

import (
	"context"
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Proof is what a real restore of a base point said about it: a snapshot of its own, with this in AboutPath. It names the
// point by its tree, which stays the same when the point is tagged, held, or copied to another vault.
type Proof struct {
	Version int       `json:"version"`
	Tree    object.ID `json:"tree"` // of the base point's snapshot
	model.Proof
	Checks []ProofCheck `json:"checks"` // in the order in which they were made
}

// ProofCheck is one thing that was asked of the restored copy.
type ProofCheck struct {
	Name   string         `json:"name"`
	OK     bool           `json:"ok"`
	Detail string         `json:"detail,omitempty"`
	Took   model.Duration `json:"took"`
}

// ProofPoint is a proof in a vault.
type ProofPoint struct {
	Proof
	Snapshot *snapshot.Snapshot
}

// tagProves is the tag of a proof that says which point it is of.
const tagProves = "lifeboat:proves="

// Encode writes the document for AboutPath.
func (p Proof) Encode() ([]byte, error) { p.Version = version; return encode(p) }

// Stamp writes a proof into the vault that holds the base point. It is durable when Stamp returns.
func Stamp(ctx context.Context, v *vault.Vault, w Whose, p Proof) (err error) {
	text, err := p.Encode()
	if err != nil {
		return err
	}
	s, err := v.NewSession(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := s.Close(context.WithoutCancel(ctx)); err == nil {
			err = closeErr
		}
	}()
	id, err := s.SaveBlob(ctx, object.Data, text)
	if err != nil {
		return err
	}
	root, err := s.SaveTree(ctx, &tree.Tree{Nodes: []tree.Node{{Name: strings.TrimPrefix(AboutPath, "/"), Type: tree.File, Mode: 0o600,
		ModTime: p.At, AccessTime: p.At, ChangeTime: p.At, Size: uint64(len(text)), Content: []object.ID{id}}}})
	if err != nil {
		return err
	}
	_, err = s.Commit(ctx, &snapshot.Snapshot{Time: p.At, Tree: &root, Paths: []string{AboutPath}, Tags: Tags(w, IsProof, p.Site, tagProves+p.Tree.String())})
	return err
}

// Proofs gives the newest proof of every base point of a resource, by the point's tree. Errors are as of [Bases].
func Proofs(ctx context.Context, v *vault.Vault, w Whose) (map[object.ID]ProofPoint, error) {
	all, err := v.Snapshots(ctx, Filter(w, IsProof))
	if err != nil {
		return nil, err
	}
	newest := map[string]*snapshot.Snapshot{}
	for _, s := range all {
		if of := proves(s); newest[of] == nil || newer(s, newest[of]) {
			newest[of] = s
		}
	}
	all = all[:0]
	for _, s := range newest {
		all = append(all, s)
	}
	read, err := read(ctx, v, all, func(s *snapshot.Snapshot, text []byte) (ProofPoint, error) {
		p := ProofPoint{Snapshot: s}
		err := decode(s, text, &p.Proof, &p.Version)
		return p, err
	})
	out := make(map[object.ID]ProofPoint, len(read))
	for _, p := range read {
		out[p.Tree] = p
	}
	return out, err
}

// StaleProofs are the proofs that no base point of the resource needs: of points that are gone, and those that a newer one
// of the same point replaces. They may be forgotten.
func StaleProofs(ctx context.Context, v *vault.Vault, w Whose) ([]object.ID, error) {
	bases, err := v.Snapshots(ctx, Filter(w, IsBase))
	if err != nil {
		return nil, err
	}
	proofs, err := v.Snapshots(ctx, Filter(w, IsProof))
	if err != nil {
		return nil, err
	}
	var out []object.ID
	for _, p := range proofs {
		kept := slices.ContainsFunc(bases, func(b *snapshot.Snapshot) bool { return b.Tree.String() == proves(p) })
		replaced := slices.ContainsFunc(proofs, func(o *snapshot.Snapshot) bool { return proves(o) == proves(p) && newer(o, p) })
		if !kept || replaced {
			out = append(out, p.ID)
		}
	}
	return out, nil
}

// proves is the tree of the point that a proof is of.
func proves(s *snapshot.Snapshot) string {
	for _, t := range s.Tags {
		if tree, ok := strings.CutPrefix(t, tagProves); ok {
			return tree
		}
	}
	return ""
}

// Usable leaves out of base points those whose last proof says that they are bad, unless that leaves none: then all are
// given, for a bad copy is better than none. Only is true then.
func Usable(bases []BasePoint, proofs map[object.ID]ProofPoint) (good []BasePoint, only bool) {
	for _, b := range bases {
		if p, proved := proofs[*b.Snapshot.Tree]; !proved || p.OK {
			good = append(good, b)
		}
	}
	if len(good) == 0 {
		return bases, len(bases) > 0
	}
	return good, false
}
