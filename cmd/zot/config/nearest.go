package config

import "strings"

// nearest returns the known word that name is most likely a slip of, "" if none is near: at most a
// third of its letters differ, or one of the two begins with the other.
func nearest(name string, known []string) string {
	name = strings.ToLower(name)
	best, least := "", max(len(name)/3, 1)+1
	for _, k := range known {
		low := strings.ToLower(k)
		d := distance(name, low)
		if short := min(len(name), len(low)); short > 2 && name[:short] == low[:short] {
			d = 1
		}
		if d < least {
			best, least = k, d
		}
	}
	return best
}

// distance counts the letters to insert, remove, replace or swap with the next one to make b of a.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			rows[i][j] = min(change, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
