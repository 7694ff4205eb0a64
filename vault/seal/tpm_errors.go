package seal

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/google/go-tpm/tpm2"

	"coffer/app/domain"
)

const (
	hintReenrol  = "open with the recovery key, then enrol again: coffer unseal, then coffer seal add tpm"
	hintRecovery = "; the recovery key opens as well: coffer unseal"
)

// diagnosis says one cause of failure to people.
type diagnosis struct {
	causes    []error // any of these in the chain
	kind      domain.Kind
	msg, hint string // DEVICE stands for the path
}

// diagnoses are looked through in order.
var diagnoses = []diagnosis{
	{
		[]error{errAnotherTPM, tpm2.TPMRCIntegrity},
		domain.Sealed, "another or cleared TPM: the one at DEVICE did not make the key slot", hintReenrol,
	},
	{
		[]error{tpm2.TPMRCPolicyFail, tpm2.TPMRCPCRChanged},
		domain.Sealed, "the boot state changed: the TPM at DEVICE measured another start than when the key slot was made",
		"open with the recovery key, then enrol again: coffer unseal, then coffer seal rotate",
	},
	{
		[]error{errOwnerAuth},
		domain.Unavailable, "the owner hierarchy of the TPM at DEVICE has a password, and it was not given or is another",
		"supply it, or provision a storage key at 0x81000001: tpm2_createprimary -C o -P PASSWORD -G ecc -c srk.ctx && tpm2_evictcontrol -C o -P PASSWORD -c srk.ctx 0x81000001" + hintRecovery,
	},
	{
		[]error{tpm2.TPMRCLockout},
		domain.Unavailable, "the TPM at DEVICE is in lockout: somebody gave it wrong passwords",
		"wait; slots made by Coffer still work" + hintRecovery,
	},
	{
		[]error{tpm2.TPMRCSessionMemory, tpm2.TPMRCObjectMemory, tpm2.TPMRCSessionHandles, tpm2.TPMRCObjectHandles, syscall.EBUSY},
		domain.Unavailable, "the TPM at DEVICE is busy with other programs",
		"use tpmrm0, which shares it out: --tpm /dev/tpmrm0" + hintRecovery,
	},
	{
		[]error{fs.ErrNotExist, syscall.ENXIO, syscall.ENODEV, syscall.ECONNREFUSED},
		domain.Unavailable, "no TPM here: nothing answers at DEVICE",
		"use another seal, or pass `--device /dev/tpmrm0`" + hintRecovery,
	},
	{
		[]error{syscall.EPERM},
		domain.Unavailable, "using the TPM at DEVICE is not permitted: the container does not pass the device on",
		"pass it with `--device /dev/tpmrm0`, not `-v`" + hintRecovery,
	},
	{
		[]error{fs.ErrPermission},
		domain.Unavailable, "permission to use the TPM at DEVICE is denied",
		"run coffer in the device's group: `--group-add $(stat -c %g DEVICE)` for a container, SupplementaryGroups=tss for a service" + hintRecovery,
	},
	{
		[]error{os.ErrDeadlineExceeded, context.DeadlineExceeded, context.Canceled},
		domain.Unavailable, "the TPM at DEVICE did not answer in time",
		"try again; if it goes on, restart the machine" + hintRecovery,
	},
	{
		[]error{errNotTPM, errOddAnswer},
		domain.Unavailable, "what is at DEVICE cannot be used as a TPM 2.0",
		"name the right device: --tpm /dev/tpmrm0" + hintRecovery,
	},
}

// explain turns an error of the TPM at path into one for people. What the
// TPM or kernel said stays in the chain.
func explain(path string, err error) error {
	for _, d := range diagnoses {
		for _, cause := range d.causes {
			if errors.Is(err, cause) {
				return &domain.Error{
					Kind: d.kind,
					Msg:  strings.ReplaceAll(d.msg, "DEVICE", path),
					Hint: strings.ReplaceAll(d.hint, "DEVICE", devicePath(path)),
					Err:  err,
				}
			}
		}
	}
	return domain.Errorf(domain.Unavailable, "the TPM at %s failed: %w", path, err).
		WithHint("look at the kernel's messages (journalctl -k) and try again" + hintRecovery)
}

// devicePath is what to name in a command about the device.
func devicePath(path string) string { return strings.TrimPrefix(path, "unix:") }
