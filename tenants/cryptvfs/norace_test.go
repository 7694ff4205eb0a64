//go:build !race

package cryptvfs_test

const raceDetector = false
