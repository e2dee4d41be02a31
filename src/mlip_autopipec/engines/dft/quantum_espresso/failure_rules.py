r"""Words of pw.x, of runtime libraries and of schedulers, and the failure that each of them means.

Each rule was written against a run that was provoked (``tests/fixtures``) or, where the machine at
hand could not provoke it, against the message in the sources of pw.x 6.5 to 7.x.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["RULES", "Rule"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern and what it means. Rules are tried in order, the first hit decides.

    ``anywhere``: looked for in every line of output and logs; otherwise only in error reports
    (``Error in routine NAME (CODE): reason`` as one line, and the Fortran runtime's own), because
    words like ``cdiaghg`` or ``volume`` stand in every good output too.
    """

    kind: str
    pattern: re.Pattern[str]
    message: str
    anywhere: bool = False


def _rule(kind: str, pattern: str, message: str, anywhere: bool = False) -> Rule:
    return Rule(kind, re.compile(pattern, re.IGNORECASE), message, anywhere)


RULES: tuple[Rule, ...] = (
    # The machine: these also leave follow-up errors, so they come first.
    _rule(
        "out_of_memory",
        r"cannot allocate memory|insufficient virtual memory|oom[-_ ]kill|out[-_ ]of[-_ ]memory|"
        r"error allocating \d+ bytes|std::bad_alloc|exceeded (job|step) memory limit|"
        r"job killed: v?mem|"
        r"memory (usage|use|limit).{0,30}exceed|TERM_MEMLIMIT",
        "not enough memory",
        anywhere=True,
    ),
    _rule(
        "out_of_memory",
        r"cannot allocate|error allocating|allocation (failed|would exceed)|out of memory",
        "not enough memory",
    ),
    _rule(
        "disk",
        r"no space left on device|disk quota exceeded|read-only file system|"
        r"stale (nfs )?file handle",
        "the scratch folder cannot be written",
        anywhere=True,
    ),
    _rule(
        "disk",
        r"error writing|error while writing|cannot write|write error|cannot open.*for writing|"
        r"cannot open xml_recover|cannot be created or accessed|input/output error",
        "the scratch folder cannot be written",
    ),
    _rule(
        "disk",
        r"check_tempdir|tempdir.*(cannot|can't|not).*(creat|writ|access|open)|write_rhog|write_collected_wfc|"
        r"routine (pw_write\w*|write_wfc\w*)",
        "the scratch folder cannot be used",
    ),
    # The calculation itself, where the words are beyond doubt.
    _rule(
        "exx",
        r"dexx is negative|exxdiv_treatment is appropriate",
        "the exchange energy estimate is negative",
        anywhere=True,
    ),
    _rule(
        "fft_volume",
        r"not enough space allocated for radial FFT|larger cell_factor",
        "the cell changed more than the plane waves allow",
        anywhere=True,
    ),
    _rule(
        "fft_volume",
        r"routine scale_h|the nr.{0,2}s are too small|routine (ggen|gvec\w*).*(too many|missing)|"
        r"FFT dimensions|g-vectors missing",
        "the FFT grid does not fit the cell",
    ),
    _rule(
        "diagonalization",
        r"S matrix not positive definite|zhegvd failed|problems computing cholesky|"
        r"cholesky failed|qr\(X, 0\) failed|eigenvectors failed to converge|"
        r"too many bands are not converged|"
        r"diagonalization \(\w+\) failed",
        "the iterative diagonalisation broke down",
        anywhere=True,
    ),
    _rule(
        "diagonalization",
        r"routine broyden",
        "the charge mixing broke down (Broyden factorisation)",
    ),
    # The order of occupations: the more special message first.
    _rule(
        "smearing_needed",
        r"smearing is needed|specify occupations|fixed occupations and lsda need tot_|"
        r"fixed occupations.*(odd|even).*electrons|lsda or smearing",
        "occupations are fixed but should be smeared",
    ),
    _rule(
        "restart_corrupt",
        r"starting and expected charges differ",
        "the charge density read is another one",
    ),
    _rule(
        "charge_wrong",
        r"charge is wrong|smooth density is wrong|number of electrons.*(is )?wrong|"
        r"cannot bracket ef",
        "the electrons do not add up to the charge",
    ),
    _rule(
        "parallelization",
        r"too few bands for required ndiag|ndiag|invalid number of (pools|images|band groups)|"
        r"routine (mp_start_\w+|divide_et_impera|laxlib_start\w*)|nodes have no k-points|"
        r"pools with no k-points|"
        r"processors have no|running on too many processors|no plane waves found|"
        r"too many processors|"
        r"must be divisor of parent_nproc|incompatible with nproc|task_groups|"
        r"sub-group communicator",
        "the split over processes does not fit",
    ),
    _rule(
        "parallelization",
        r"not enough slots available|more processors than permitted|"
        r"requested task count.*exceeds",
        "the split over processes does not fit the machine",
        anywhere=True,
    ),
    _rule(
        "too_few_bands",
        r"too few (spin (up|dw|down) )?bands|increase nbnd",
        "fewer bands than electrons need",
    ),
    _rule(
        "input",
        r"more bands than PWs|too many bands, or too few plane waves",
        "more bands than plane waves: nbnd is too large or ecutwfc too small",
    ),
    _rule(
        "geometry",
        r"check_atoms|atoms #\s*\d+\s+and\s+#?\s*\d+\s+(overlap|differ by)|overlapping atoms|"
        r"routine coset.*nsym|singular determinant|linearly dependent|routine (recips|"
        r"volume)\b|left-handed",
        "atoms or cell make no sense",
    ),
    _rule("geometry", r"Fatal error:\s+\d+ overlapping atoms", "atoms overlap", anywhere=True),
    _rule(
        "pseudopotential",
        r"\breadpp\b|read_upf|read_ps|upf_to_internal|routine \w*upf\w*|scan_(begin|end)|"
        r"pseudopotential|\.upf\b.*not found|conflicting values for|inconsistent DFT|"
        r"your pseudopotential file|"
        r"file xmltools\.f90|routine (set_dft|enforce_dft)\w*|read_pp",
        "a pseudopotential cannot be used",
    ),
    _rule(
        "restart_corrupt",
        r"read_rhog?\b|error (while )?reading|fatal error reading xml|cannot read rho|"
        r"(charge|wfc|restart).*error opening|error opening.*(charge|wfc|restart|\.save)|"
        r"read_collected_wfc|read_wfc|"
        r"pw_restart|read_xml_file|read_conf_from_file|qexsd_readschema|xml data file.*not found|"
        r"needed files (are missing|not found)|routine potinit|cannot open restart|davcio",
        "files of an earlier run are broken or missing",
    ),
    _rule(
        "symmetry",
        r"not a group|symmetry operation.*not|original symmetry operations|sgam_at|sgama|sym_rho|"
        r"inverse not defined|lone vector|wrong (number of )?symmetr|irred\w*_bz|"
        r"not orthogonal operation|"
        r"checkallsym|kpoint_grid|too many k-points|not compatible with FFT grid|"
        r"incompatible FFT grid|"
        r"routine (set_sym\w*|smallg\w*|inverse_s|multable|s_axis\w*|symmetri\w*|coset|"
        r"divide_class\w*|"
        r"set_irr\w*|d_matrix|find_sym|code_group|find_group|exx_grid_init)",
        "the symmetry analysis failed",
    ),
    _rule(
        "diagonalization",
        r"zhegvd|dsygvd|\bp?[cr]diaghg|c_bands|[cr]egterg|\bppcg|routine paro|rotate_wfc|"
        r"routine (laxlib_\w+|\w*cholesky\w*|diag\w*)|solution of the linear system",
        "the iterative diagonalisation broke down",
    ),
    _rule("scf_not_converged", r"negative dr2", "the charge mixing lost its way"),
    _rule(
        "input",
        r"read_namelists|read_cards|card_\w+|reading namelist|bad line in namelist|"
        r"wrong axis vectors|"
        r"routine (iosys|readin|input\w*|system_checkin|control_checkin|electrons_checkin|"
        r"cell_base\w*|setup|gcutoff|"
        r"set_occupations|latgen|init_pos|open_input_file|parse_unit|read_input\w*|get_dft_name|\w*_checkin|"
        r"set_\w+|k_points|n_plane_waves|sort_tau|ions_base\w*)|G_par",
        "the input is refused",
    ),
    _rule(
        "input",
        r"G_par is NOT a reciprocal lattice vector",
        "the k-point strings do not fit the lattice",
        anywhere=True,
    ),
    # The last words of others.
    _rule(
        "out_of_walltime",
        r"due to time limit|walltime \S+ exceeded|exceed(s|ed)? (its |the )?(wall ?clock|"
        r"wall ?time|time) limit|job killed: wall|TERM_RUNLIMIT|wall ?clock limit",
        "the queue's time limit ended it",
        anywhere=True,
    ),
    _rule(
        "out_of_walltime", r"maximum CPU time exceeded", "max_seconds was reached", anywhere=True
    ),
    _rule(
        "interrupted",
        r"CANCELLED AT|preempt(ed|ion)|node[ _]fail|program stopped by user request|"
        r"signal received, stopping|exited on signal (9|15|1)\b|KILLED BY SIGNAL: (9|15)|"
        r"process killed \(SIGTERM\)|caught signal (9|15)|^\s*(killed|terminated)\s*$|"
        r"line \d+:\s+\d+ (killed|terminated)|lost communication|job aborted due to",
        "stopped from outside",
        anywhere=True,
    ),
)
