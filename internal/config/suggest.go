package config

import (
	"slices"
	"strings"
)

// didYouMean is the hint for a misspelt word: the nearest known one, else the list of them, else nothing.
func didYouMean(word string, known []string) string {
	if best := nearest(word, known); best != "" {
		return "did you mean " + quote(best) + "?"
	}
	if len(known) == 0 || len(known) > 30 {
		return ""
	}
	sorted := slices.Sorted(slices.Values(known))
	return "known: " + strings.Join(sorted, ", ")
}

// nearest finds the known word that word was most likely meant to be, or "".
func nearest(word string, known []string) string {
	if len(word) > 64 {
		return ""
	}
	folded := strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(word))
	best, bestDistance := "", 1+max(1, len(word)/3)
	for _, k := range slices.Sorted(slices.Values(known)) {
		if strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(k)) == folded {
			return k
		}
		if d := distance(word, k); d < bestDistance && d < len(word) {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of neighbours that turn a into b (optimal string
// alignment).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
