r"""Words of pw.x in its error boxes, and the failure that each of them means.

By the routine that stops and by its wording: current sources can stop with some 700 messages. Each
rule was written against a run that was provoked (``tests/fixtures``) or, where the machine at hand
could not provoke it, against the messages in the sources of pw.x 6.5 to 7.5.
"""

from __future__ import annotations

from mlip_autopipec.engines.dft.quantum_espresso.machine_rules import (
    FIRST,
    LAST,
    MACHINE_RULES,
    READING,
)
from mlip_autopipec.engines.dft.quantum_espresso.rule import Rule, anywhere, box

__all__ = ["RULES"]

_NEW_PLACE = "another outdir with space and write permission (quota, read-only or vanished scratch)"

_FILES: tuple[Rule, ...] = (
    box(
        "out_of_memory",
        r"cannot allocate|error allocating|allocation (failed|would exceed)|out of memory",
        "not enough memory",
    ),
    # Readers of the input come before readers of files: both say "error while reading".
    box(
        "input",
        r"routine\s+(card_hubbard|\w*hubbard\w*|offset_atom_wfc\w*|init_lda_plus_u)\b|"
        r"HUBBARD card|Hubbard (parameters|manifold|projector)|requested and available manifolds",
        "the Hubbard correction that was asked for cannot be made",
        "look at the HUBBARD card (lda_plus_u): projectors, one line 'U Fe-3d 5.0' each, a shell"
        " that the pseudopotential has orbitals for",
    ),
    box(
        "input",
        r"routine\s+(card_\w+|add_kpoints?|cards|read_cards\w*|read_namelists\w*|"
        r"namelist_\w+|parse_unit|get_field|field_compare|read_line|trimcheck)\b|"
        r"bad line in namelist|reading namelist",
        "the input is refused",
    ),
    box(
        "disk",
        r"error writing|error while writing|cannot write|write error|cannot open.*for writing|"
        r"cannot open xml_recover|cannot be created or accessed|input/output error|"
        r"(unable|not able|failed) to (create|make|open)|cannot (be )?(create|make|open)d?.*direct|"
        r"mkdir|non ?-?existent or non ?-?writ|not writ[ea]*ble|permission denied|"
        r"writing (paw|ldau|xdm)",
        "a file or a folder cannot be written or made",
        _NEW_PLACE,
    ),
    box(
        "disk",
        r"routine\s+(check_tempdir|create_directory|diropn|seqopn|open_buffer|openfilq?|"
        r"check_writable|buiol_\w+|pw_write\w*|write_\w*(wfc|rho)\w*|write_scf|copy_file|"
        r"write_collected_wfc|io_\w*open)\b|"
        r"tempdir.*(cannot|can't|not).*(creat|writ|access|open)",
        "a file or a folder cannot be written or made",
        _NEW_PLACE,
    ),
)

_CALCULATION: tuple[Rule, ...] = (
    anywhere(
        "exx",
        r"dexx is negative|exxdiv_treatment is appropriate",
        "the exchange energy estimate is negative",
    ),
    anywhere(
        "fft_volume",
        r"not enough space allocated for radial FFT|larger cell_factor",
        "the cell changed more than the plane waves allow",
    ),
    box(
        "fft_volume",
        r"routine scale_h|the nr.{0,2}s are too small|routine (ggen|gvec\w*).*(too many|missing)|"
        r"FFT dimensions|g-vectors missing|mesh too small",
        "the FFT grid does not fit the cell",
    ),
    anywhere(
        "diagonalization",
        r"S matrix not positive definite|zhegvd failed|problems computing cholesky|"
        r"cholesky failed|qr\(X, 0\) failed|eigenvectors failed to converge|"
        r"too many bands are not converged|diagonalization (\(\w+\) )?failed|"
        r"(cu|hip|roc)solver\w*(evd|gvd|evx|gvx|potrf)\w* failed",
        "the iterative diagonalisation broke down",
    ),
    box(
        "diagonalization",
        r"routine broyden|routine mix_rho.*factor",
        "the charge mixing broke down (Broyden factorisation)",
    ),
    # The order of occupations: the more special message first.
    box(
        "smearing_needed",
        r"smearing is needed|specify occupations|fixed occupations and lsda need tot_|"
        r"fixed occupations.*(odd|even).*electrons|lsda or smearing",
        "occupations are fixed but should be smeared",
    ),
    box(
        "restart_corrupt",
        r"starting and expected charges differ",
        "the charge density read is another one",
    ),
    box(
        "charge_wrong",
        r"charge is wrong|wrong charge|smooth density is wrong|"
        r"number of electrons.*(is )?wrong|cannot bracket ef|bad fermi energy",
        "the electrons do not add up to the charge",
    ),
    box(
        "parallelization",
        r"too few bands for required ndiag|ndiag|invalid number of (pools|images|band groups)|"
        r"routine (mp_start_\w+|divide_et_impera|laxlib_start\w*)|nodes have no k-points|"
        r"pools with no k-points|process(or|e)s (have|with) no|running on too many processors|"
        r"no plane waves found|too many processors|must be divisor of parent_nproc|"
        r"incompatible with nproc|MOD\(nproc|task_groups|sub-group communicator|"
        r"(pools?|images?|band.?groups?|task ?groups?)\b.{0,30}not (\(?yet\)? )?"
        r"(implemented|allowed|supported|available)|not available with pools|"
        r"stick(s)? .*(dimension|no planes)|pencil decomposition",
        "the split over processes does not fit",
    ),
    anywhere(
        "parallelization",
        r"not enough slots available|more processors (requested )?than permitted|"
        r"requested task count.*exceeds|more processors requested",
        "the split over processes does not fit the machine",
    ),
    box(
        "too_few_bands",
        r"too few (spin (up|dw|down) )?bands|increase nbnd",
        "fewer bands than electrons need",
    ),
    box(
        "ionic_not_converged",
        r"routine\s+(bfgs|terminate_bfgs|trust_radius\w*|gdiis_step|fire)\b|dE0s is positive",
        "the relaxation gave up",
        "continue from the last structure printed with tighter conv_thr: the forces are too noisy",
    ),
)

_ASKED: tuple[Rule, ...] = (
    box(
        "input",
        r"more bands than PWs|too many bands, or too few plane waves",
        "more bands than plane waves: nbnd is too large or ecutwfc too small",
    ),
    box(
        "input",
        r"PPCG.*(\bnot\b|any ?more)|invalid type of diagonalization|"
        r"diagonali[sz]ation \S+ (is )?not (implemented|supported|available)|"
        r"(diagonali[sz]ation|solver).*(no longer|any ?more|removed)",
        "this version of pw.x has no such solver",
        "name a solver that it has: diagonalization = 'david', 'cg' or 'paro'",
    ),
    box(
        "input",
        r"EXX q grid|routine\s+exx_\w*(grid|div|q|mp_init)\w*|nq[123x]|k \+ ?q is not",
        "the q grid of the hybrid functional does not fit the k-points",
        "nq1, nq2, nq3 that divide an automatic k mesh without offset, or 1 1 1",
    ),
    box(
        "input",
        r"routine\s+\w*tetra\w*",
        "tetrahedra do not fit the k-points",
        "an automatic k mesh without offset for occupations = 'tetrahedra', or smearing",
    ),
    box(
        "input",
        r"too many k.?points|number of k-?points exceeded|npk",
        "more k-points than this pw.x was built for",
        "fewer k-points (symmetry on, a coarser mesh), or a larger npk in its sources",
    ),
    box(
        "geometry",
        r"check_atoms|atoms #\s*\d+\s+and\s+#?\s*\d+\s+(overlap|differ by)|overlapping atoms|"
        r"routine coset.*nsym|singular determinant|linearly dependent|routine (recips|"
        r"volume)\b|left-handed|atoms too close|"
        r"routine (ewald\w*|force_ew|stres_ew|rgen)\b|singular matrix",
        "atoms or cell make no sense",
    ),
    anywhere("geometry", r"Fatal error:\s+\d+ overlapping atoms", "atoms overlap"),
    box(
        "pseudopotential",
        r"\breadpp\b|read_upf|read_ps|upf_to_internal|routine \w*upf\w*|scan_(begin|end)|"
        r"pseudopotential|\.upf\b.*not found|conflicting values for|inconsistent DFT|"
        r"file xmltools\.f90|routine (set_dft|enforce_dft)\w*|read_pp|"
        r"routine\s+(read_ncpp|read_cpmd|readgth|readvan|readrrkj|read_casino|readrdm|"
        r"allocate_radial_grid|check_mesh|pseudo\w*|ld1\w*)\b|non-paw pseudo|"
        r"all-electron atomic-wavefunctions needed",
        "a pseudopotential cannot be used",
    ),
    box(
        "restart_corrupt",
        r"read_rho\w*\b|error (while )?reading|fatal error reading xml|cannot read rho|"
        r"(charge|wfc|restart).*error opening|error opening.*(charge|wfc|restart|\.save)|"
        r"read_collected_wfc|read_wfc|pw_restart|read_xml_file|read_conf_from_file|"
        r"routine\s+(pw_readfile|read_scf|read_file\w*|qes_read\S*|qexsd_copy\S*|qexsd_read\w*|h5dread\w*|"
        r"prepare_for_reading\w*|qeh5_\w+|vcsmd)\b|"
        r"qexsd_readschema|xml (data )?file.*not found|"
        r"error opening xml|needed files (are missing|not found)|"
        r"routine potinit|cannot open restart|davcio|searching for .*\.(xml|dat|hdf5)|"
        r"error in h5dread|(MD )?history got lost|reading (paw becsum|ldau ns)",
        "files of an earlier run are broken or missing",
    ),
    box(
        "symmetry",
        r"not a group|symmetry operation.*not|original symmetry operations|sgam_at|sgama|sym_rho|"
        r"inverse not defined|lone vector|wrong (number of )?symmetr|irred\w*_bz|"
        r"not orthogonal operation|checkallsym|kpoint_grid|not compatible with FFT grid|"
        r"incompatible FFT grid|"
        r"routine (set_sym\w*|smallg\w*|inverse_s|multable|s_axis\w*|symmetri\w*|coset|"
        r"divide_(class|sym)\w*|set_irr\w*|d_matrix\w*|find_sym|code_group|find_group|symonpair|"
        r"alloc_neighborhood|tipo_sym|which_c2|is_(axis|complex|d2)|laue_class|group_name|versor|"
        r"angle_\w+)\b",
        "the symmetry analysis failed",
    ),
    box(
        "diagonalization",
        r"zhegvd|dsygvd|\bp?[cr]diagh?g|c_bands|[cr]egterg|\bppcg|routine paro|rotate_wfc|"
        r"gram_schmidt|rmm\w*diag|"
        r"routine (laxlib_\w+|\w*cholesky\w*|diag\w*|p?(dsp|zhp|zhe)ev\w*|pdsyevd\w*|tqli)|"
        r"solution of the linear system",
        "the iterative diagonalisation broke down",
    ),
    box("scf_not_converged", r"negative dr2", "the charge mixing lost its way"),
    box("scf_not_converged", r"RISM.*not.*converged", "the solvent did not converge"),
    box(
        "input",
        r"wrong axis vectors|routine\s+(iosys|readin|input\w*|reader\w*|system_checkin|"
        r"control_checkin|electrons_checkin|abc2celldm|cell_base\w*|setup|gcutoff|"
        r"set_occupations|latgen\w*|init_pos|open_input_file|parse_unit|read_input\w*|"
        r"get_dft_name|\w*_checkin|set_\w+|k_points|n_plane_waves|sort_tau|ions_base\w*|"
        r"(init|cell)_dofree|init_(start_k|london|constraint|wfc|at\w*)|add_[be]field|"
        r"add_gatefield|xc_\w+|vdW_\w+|tsvdw|energy_xdm|kp_strings|c_phase\w*|wypos\w*|"
        r"sup_spacegroup|space_group|find_equiv\w*|ref_cell_base_init|beef_\w+|dftd3\w*|read_kernel_table|"
        r"generate_k_\w+|write_dipole|esm_(check|init)\w*|rism\w*|fcp_\w*check\w*|"
        r"move_ions|read_V|dftname|w0gauss|wgauss|electrons_base_initval|ws_\w*check|"
        r"ions_(cofmass|vel|vrescal)|cell_alat|movecell|check_constraint|betapointlist|"
        r"control_flags|start_exx|aceinit\w*|good_fft_order)\b|G_par",
        "the input is refused",
    ),
    anywhere(
        "input",
        r"G_par is NOT a reciprocal lattice vector",
        "the k-point strings do not fit the lattice",
    ),
    # Wording, for the routines that no rule above names; not where pw.x found a fault of its own.
    box(
        "input",
        r"^(?!.*(internal error|called (in|with|before|without)|should (not|never) happen|"
        r"already (init|alloc)|not (initiali[sz]ed|allocated)|wrong (size|dimension|call|case|"
        r"leading|unit|flag)|size mismatch|\bBUG\b|mpi_|info ?<> ?0|index out)).*"
        r"(\bnot (\(?yet\)? )?(implemented|supported|available|allowed|programmed|possible|"
        r"compatible|recogni[sz]ed|parametri[sz]ed|valid|compiled|meaningful|permitted|tested)|"
        r"\bNYI\b|no longer|any ?more\b|unsupported|only (be |for |with |works?|available|"
        r"implemented|valid|allowed|support\w*)|cannot be (used|combined|applied|set)|"
        r"\bcan ?not (use|have|be used)|incompatible|conflict|mutually exclusive|\brequires?\b|"
        r"\bmust (be|have|appear)|should be|ha(s|ve) to be|"
        r"\bneed(s|ed)?\b|obsolete|deprecated|unknown|unrecogni[sz]ed|"
        r"invalid|illegal value|out of range|not (set|given|specified|defined)\b|"
        r"(are|is) missing|please|specify|incorrect|requested|negative (target|occupation)|"
        r"compilation|ntyp|"
        r"too (large|small|short), (in|de)crease|do(es)? not (work|support|exist))",
        "the input is refused",
    ),
)


def _order() -> tuple[Rule, ...]:
    """The machine's memory and disk, which leave follow-up errors; what pw.x says; the rest of the
    machine; the last words of schedulers.
    """
    time_limit, *ended = LAST
    return (
        *FIRST,
        *_FILES,
        *_CALCULATION,
        *_ASKED,
        *READING,
        time_limit,
        *MACHINE_RULES,
        *ended,
    )


RULES: tuple[Rule, ...] = _order()
