package config

import "slices"

// circles finds the circles of a directed graph: one for each knot of nodes that reach each other, as a path that
// begins and ends with the node of it that is first in order. The result follows from its arguments alone.
func circles(order []string, edges map[string][]string) [][]string {
	var out [][]string
	done := map[string]bool{}
	for _, start := range order {
		if done[start] {
			continue
		}
		if path := shortestCircle(start, edges); path != nil {
			out = append(out, path)
			for n := range reachable(start, edges) {
				if reachable(n, edges)[start] {
					done[n] = true
				}
			}
		}
		done[start] = true
	}
	return out
}

// reachable gives all nodes that at least one edge leads to from start.
func reachable(start string, edges map[string][]string) map[string]bool {
	seen := map[string]bool{}
	queue := []string{start}
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		for _, next := range edges[n] {
			if !seen[next] {
				seen[next] = true
				queue = append(queue, next)
			}
		}
	}
	return seen
}

// shortestCircle gives the shortest way from start back to it, or nil.
func shortestCircle(start string, edges map[string][]string) []string {
	from := map[string]string{}
	queue := []string{start}
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		for _, next := range edges[n] {
			if next == start {
				path := []string{start}
				for at := n; at != start; at = from[at] {
					path = append(path, at)
				}
				path = append(path, start)
				slices.Reverse(path)
				return path
			}
			if _, seen := from[next]; !seen {
				from[next] = n
				queue = append(queue, next)
			}
		}
	}
	return nil
}
