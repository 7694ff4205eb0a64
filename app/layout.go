package app

import "path/filepath"

// The data directory (0700, files 0600); each file has one writer. The packages
// that own the files document their formats in FORMAT.md.
func lockPath(data string) string    { return filepath.Join(data, "coffer.lock") }
func clockPath(data string) string   { return filepath.Join(data, "coffer.clock") }
func socketPath(data string) string  { return filepath.Join(data, "run", "coffer.sock") }
func controlPath(data string) string { return filepath.Join(data, "control.db") }
func sealPath(data string) string    { return filepath.Join(data, "vault", "seal.json") }
func vaultDir(data string) string    { return filepath.Join(data, "vault") }
func keysPath(data string) string    { return filepath.Join(data, "vault", "keys.db") }
func tenantsDir(data string) string  { return filepath.Join(data, "tenants") }
func auditDir(data string) string    { return filepath.Join(data, "audit") }
