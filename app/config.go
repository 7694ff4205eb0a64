package app

import (
	"net/netip"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"coffer/app/actions"
	"coffer/app/domain"
	"coffer/vault/seal"
)

// defaultData is the data directory when nobody says otherwise.
const defaultData = "./coffer-data"

// Config is what `coffer serve` needs to know. Each value has one source: the
// flag, else the environment, else the default. `coffer config` shows them with
// where they came from. Secrets are never settings.
type Config struct {
	Data           string // data directory
	Seal           string // auto, tpm, passphrase or keyfile
	TPM            string // path of the TPM: a device, unix:PATH or tcp:HOST:PORT
	Keyfile        string // a key file outside the data directory
	PassphraseFile string // a file with the passphrase
	AuditSpace     int64  // bytes that the audit log may take

	Listen  string         // HOST:PORT of the one port, or noPort
	TLS     bool           // off on loopback only
	TLSCert string         // a certificate brought by somebody, in PEM; "" for Coffer's own
	TLSKey  string         // its key
	Names   []string       // further names of this machine; the first is that of printed URLs
	Proxies []netip.Prefix // proxies that are believed when they say for whom they ask

	temp    []string         // environment that says where temporary files go, for workers
	anyPort bool             // when the port is taken, another will do
	url     string           // under which browsers reach Coffer; "" for not at all
	wall    func() time.Time // the wall clock; nil for the machine's
}

// setting is one value of the configuration with its source.
type setting struct {
	name, flag, env, fallback, usage string
}

var settings = []setting{
	{"data", "data", "COFFER_DATA", defaultData, "data `DIR`ectory"},
	{"seal", "seal", "COFFER_SEAL", "auto", "what protects the root key at rest: auto, tpm, passphrase, keyfile"},
	{"tpm", "tpm", "COFFER_TPM", seal.DefaultTPM, "`PATH` of the TPM: a device, unix:PATH or tcp:HOST:PORT"},
	{"keyfile", "keyfile", "COFFER_KEYFILE", "", "key `FILE` outside the data directory"},
	{"passphrase-file", "passphrase-file", "COFFER_PASSPHRASE_FILE", "", "`FILE` with the passphrase, instead of typing it"},
	{"listen", "listen", "COFFER_LISTEN", ":8443", "`HOST:PORT` to answer on, or off for the local socket alone"},
	{"tls", "tls", "COFFER_TLS", "on", "on or off; off on a loopback address only"},
	{"tls-cert", "tls-cert", "COFFER_TLS_CERT", "", "`FILE` with a certificate to show instead of one of Coffer's own, in PEM"},
	{"tls-key", "tls-key", "COFFER_TLS_KEY", "", "`FILE` with the key of --tls-cert, in PEM"},
	{"name", "name", "COFFER_NAME", "", "`NAMES` of this machine besides those it has, with commas between; the first stands in printed URLs"},
	{"trusted-proxies", "trusted-proxies", "COFFER_TRUSTED_PROXIES", "", "`CIDRS` of proxies to believe when they say for whom they ask, with commas between"},
	{"audit-space", "audit-space", "COFFER_AUDIT_SPACE", "10GiB", "most `BYTES` that the audit log may take"},
}

// resolve gives a setting's value and source: flag, environment or default.
func (s setting) resolve(c *cli.Context, std Stdio) (value, source string) {
	if c.IsSet(s.flag) {
		return c.String(s.flag), "--" + s.flag
	}
	if v := std.Env(s.env); v != "" {
		return v, s.env
	}
	return s.fallback, "default"
}

func settingNamed(name string) setting {
	for _, s := range settings {
		if s.name == name {
			return s
		}
	}
	panic("no setting " + name)
}

// dataDir is the data directory of a command.
func dataDir(c *cli.Context, std Stdio) string {
	v, _ := settingNamed("data").resolve(c, std)
	return v
}

// loadConfig resolves and checks every setting.
func loadConfig(c *cli.Context, std Stdio) (Config, error) {
	values := map[string]string{}
	for _, s := range settings {
		values[s.name], _ = s.resolve(c, std)
	}
	if values["data"] == "" {
		return Config{}, domain.Fieldf("data", "no directory is named")
	}
	dir, err := filepath.Abs(values["data"])
	if err != nil {
		return Config{}, domain.Fieldf("data", "%v", err)
	}
	space, err := parseBytes(values["audit-space"])
	if err != nil {
		return Config{}, err
	}
	cfg := Config{
		Data: dir, Seal: values["seal"], TPM: values["tpm"], Keyfile: values["keyfile"],
		PassphraseFile: values["passphrase-file"], AuditSpace: space,
	}
	for _, name := range []string{"SQLITE_TMPDIR", "TMPDIR"} {
		if v := std.Env(name); v != "" {
			cfg.temp = append(cfg.temp, name+"="+v)
		}
	}
	if cfg.Seal != "auto" {
		kind, err := seal.ParseKind(cfg.Seal)
		if err != nil {
			return Config{}, err
		}
		if kind == seal.Recovery {
			return Config{}, domain.Fieldf("seal", "a recovery key opens by hand only").WithHint("run: coffer unseal --recovery")
		}
	}
	return cfg, cfg.setNetwork(values)
}

// machine says where this machine keeps what opens key slots without a person.
func (cfg Config) machine(std Stdio) actions.Machine {
	m := actions.Machine{TPM: cfg.TPM, DataKeyfile: filepath.Join(cfg.Data, "vault", "seal.key"), Keyfile: cfg.Keyfile}
	if dir := std.Env("CREDENTIALS_DIRECTORY"); dir != "" { // systemd.exec(5), LoadCredential=
		m.Credential = existing(filepath.Join(dir, "coffer-seal-key"))
	}
	return m
}
