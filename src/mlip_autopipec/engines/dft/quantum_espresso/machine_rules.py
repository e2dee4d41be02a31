"""Words of runtime libraries, MPI, GPUs and schedulers, and the failure that each of them means.

They stand in the output, in standard error or in the scheduler's files, in any line. Each was
written against a run that was provoked (``tests/fixtures``), or against what users and manuals
show.
"""

from __future__ import annotations

import re

from mlip_autopipec.engines.dft.quantum_espresso.classes import MACHINE
from mlip_autopipec.engines.dft.quantum_espresso.rule import Rule, anywhere, box

__all__ = ["CRASHED", "FIRST", "LAST", "MACHINE_RULES", "NOT_STARTED", "READING"]

_GPU = (
    "run it with a pw.x for CPUs, or another version of the GPU build, its CUDA and drivers; one"
    " rank per GPU"
)
_MPI = (
    "mend the MPI: mpirun of the library that pw.x was built with (ldd pw.x), the modules of the"
    " job, the network; try one rank on one node"
)
_BUILD = "a pw.x built for these processors and with the libraries that are loaded (ldd pw.x)"
_START = "name pw.x by its full path, load its modules in the job, make it executable"
_RUNTIME = (
    "a fault of the program or its build: another build (without OpenMP, less optimised, another"
    " version); ulimit -s unlimited and a larger OMP_STACKSIZE"
)

#: Memory and disk: these leave follow-up errors, so they come before everything.
FIRST: tuple[Rule, ...] = (
    anywhere(
        "out_of_memory",
        r"CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation|hipErrorOutOfMemory|"
        r"status = 2\(out of memory\)|cuMemAlloc\w* returned error 2\b|"
        r"call to cu\w+ returned error 2\b|"
        r"(cuda|gpu|device).{0,40}out of memory|out of memory.{0,30}(cuda|gpu|device)|"
        r"HSA_STATUS_ERROR_OUT_OF_RESOURCES|CUBLAS_STATUS_ALLOC_FAILED|CUFFT_ALLOC_FAILED",
        "the memory of the GPU is used up",
        "more GPUs or nodes, fewer pools (memory of a pool is shared by its ranks), one rank per"
        " GPU, diagonalization = 'cg'",
    ),
    anywhere(
        "out_of_memory",
        r"cannot allocate (memory|array)|insufficient virtual memory|oom[-_ ]?kill|"
        r"out[-_ ]of[-_ ]memory|error allocating \d+ bytes|std::bad_alloc|"
        r"exceeded (job|step|its)? ?memory limit|(job|step) \S+ exceeded memory|"
        r"job killed: (v?mem|pv?mem)|memory (usage|use|limit).{0,30}exceed|TERM_MEMLIMIT|"
        r"TERM_SWAP|exceeds job hard limit .?(h_vmem|h_rss|h_data)|"
        r"(v?mem|memory) \S+ exceeded limit|memory allocation failed|"
        r"insufficient memory|virtual memory exhausted|not enough memory",
        "not enough memory",
    ),
    anywhere(
        "disk",
        r"no space left on device|disk quota exceeded|(file ?system|disk) (is )?full|"
        r"read-only file system|stale (nfs )?file handle|file size limit exceeded|"
        r"transport endpoint is not connected|quota exceeded|\binput/output error|"
        r"mkdir: cannot create directory(?!.*exists)",
        "the scratch folder cannot be written",
    ),
    box(
        "disk",
        r"forrtl: severe \((38|30|9|47|42|608)\)|"
        r"runtime error: .{0,160}(permission denied|not a directory|input/output error)|"
        r"cannot open file .*(permission denied|read-only)|"
        r"FIO-F-20[0-9].*(permission|denied|space)",
        "a file cannot be written or made",
        "an outdir that exists and may be written (permissions, quota), or another file system",
    ),
)

#: What the Fortran runtime says while it reads: the file decides what is at fault.
READING: tuple[Rule, ...] = (
    box(
        "pseudopotential",
        r"(forrtl|fortran runtime|FIO-F|At line \d+).*\.(upf|rrkj\w*|vdb|pz-\w+|pbe-\w+)\b|"
        r"At line \d+ of file \S*(upf|read_ps|pseudo)\w*\.f90",
        "a pseudopotential cannot be read",
    ),
    box(
        "restart_corrupt",
        r"(forrtl|fortran runtime|FIO-F|At line \d+).*"
        r"(\.save|\.wfc\d*|charge-density|\.mix\d*|\.igk|\.restart\w*|\.bfgs|\.md)\b",
        "files of an earlier run are broken or missing",
    ),
    box(
        "input",
        r"forrtl: severe \((17|18|19|59|64|67)\)|"
        r"(forrtl|fortran runtime|FIO-F|At line \d+).*"
        r"(\.in\b|\.pwi\b|\.inp\b|unit[ =]+5\b|stdin|read_namelists|read_cards|parser)|"
        r"forrtl: severe \((24|29|39|62)\).*unit 5\b|FIO-F-\d+/(list-directed|namelist) read",
        "the input cannot be read",
        "look at the input: a value of the wrong type, a line cut off, a missing '/' or last line",
    ),
)

#: The machine, not the calculation: neither other settings nor another start helps.
MACHINE_RULES: tuple[Rule, ...] = (
    anywhere(
        MACHINE,
        r"illegal instruction|SIGILL|signal 4 \(|Program Exception - illegal|"
        r"(operating system and the )?processor support.*instructions|"
        r"not supported on this (processor|cpu)|exec format error",
        "pw.x was built for another processor",
        _BUILD,
    ),
    anywhere(
        MACHINE,
        r"error while loading shared libraries|symbol lookup error|undefined symbol|"
        r"version .?(GLIBC|GLIBCXX|GFORTRAN|CXXABI)\S* not found|Intel MKL FATAL ERROR|"
        r"dyld: |Library not loaded|cannot open shared object|libgomp: Thread creation failed|"
        r"pthread_create failed|OMP: (Error|System error)",
        "a library of pw.x is missing, does not fit or cannot run",
        _BUILD,
    ),
    anywhere(
        MACHINE,
        r"accelerator fatal error|CUDA_ERROR_\w+|cudaError\w+|no cuda-capable device|"
        r"CUDA driver version is insufficient|call to cu\w+ returned error|"
        r"CUBLAS_STATUS_(?!SUCCESS)\w+|CUSOLVER_STATUS_(?!SUCCESS)\w+|"
        r"cuda(memcpy|malloc)\w* failed|"
        r"hipError\w+|HSA_STATUS_ERROR\w*|memory access fault by gpu|CUDA (runtime|driver)? ?error|"
        r"NCCL (WARN|error)|an illegal memory access was encountered|"
        r"no (GPU|device)s? (was|were)? ?(found|available|detected)|current file:.*\.cuf",
        "the GPU build crashed, or finds no GPU that it can use",
        _GPU,
    ),
    anywhere(
        MACHINE,
        r"Fatal error in P?MPI_Init|MPIDI?_\w*init\w*.*(fail|error)|channel initialization failed|"
        r"MPI_Init\w* failed|ompi_mpi_init|orte_init failed|pmix_?\w*init\w*.*fail|PMIX ERROR|"
        r"MPI startup\(\).*(fail|error)|OFI (endpoint|addrinfo|fi_\w+).*failed|"
        r"hfi_userinit|unable to open the (openib|hfi)|PMI2?_Init failed|"
        r"compiled (with|against).{0,40}PMI|ORTE_ERROR_LOG|"
        r"daemon.{0,40}(failed|died) .{0,40}launch|"
        r"MPI_INIT has failed|It looks like (MPI_INIT|orte_init|opal_init)|"
        r"wrong mpirun|Unable to create step|shm_open|\bbus error\b|SIGBUS|Invalid MIT-MAGIC",
        "MPI could not start or cannot run here",
        _MPI,
    ),
    anywhere(
        MACHINE,
        r"Fatal error in (internal_)?P?MPI_\w+|Invalid communicator|Message truncated|"
        r"MPI_ERR_(?!IN_STATUS)\w+|MPI error \d+|error in (mpi_|MPI_)\w+|UCX +(ERROR|FATAL)",
        "MPI broke down during the run",
        _MPI,
    ),
    box(
        MACHINE,
        r"error in (mpi_\w+|parallel_\w+)|routine \w*(mp_\w+|bcast_\w+|reduce_base_\w+).*mpi|"
        r"in MPI_\w+ \d+",
        "MPI broke down during the run",
        _MPI,
    ),
    box(
        MACHINE,
        r"forrtl: severe \((?!41\b|174\b|78\b|69\b)\d+\)|fortran runtime error|"
        r"FIO-[FS]-\d+|lib-\d+ : UNRECOVERABLE",
        "a runtime error of the compiled program",
        _RUNTIME,
    ),
    anywhere(
        MACHINE,
        r"double free or corruption|(malloc|free|munmap_chunk|corrupted)\w*\(?\)?:.*"
        r"(invalid|corrupt|size)|stack smashing detected|\*\*\* glibc detected|"
        r"stack overflow|forrtl: severe \(170\)",
        "the program damaged its own memory",
        _RUNTIME,
    ),
)

_PROGRAM = r"(pw\.x|pw|pw-\w+|mpirun|mpiexec(\.\w+)?|srun|prun|aprun|jsrun|orterun|time)"
#: Signs that no pw.x ever ran, looked for where it printed nothing.
NOT_STARTED = anywhere(
    MACHINE,
    rf"\b{_PROGRAM}\b\S*: (command )?not found|"
    rf"{_PROGRAM}: (no such file|cannot execute|permission)|"
    rf"(no such file or directory|permission denied|not found).{{0,40}}\b{_PROGRAM}\b|"
    r"cannot execute( binary file)?|execv[pe]?\w*(\(\))?:? ?(error|failed)|execve\(\)|"
    r"could not (find|launch|access|execute) (the )?(executable|program|process)|"
    r"unable to (launch|start|find) .{0,60}(application|executable|program)|"
    r"\.x\S*: (no such file|cannot execute|permission denied|command not found)|"
    r"(ssh|pdsh|rsh)\S*:.*(refused|failed|timed out|denied)|host key verification failed",
    "pw.x did not start",
    _START,
)

#: A crash by a signal, without words of its own.
CRASHED = re.compile(
    r"SIGSEGV|signal 11|Segmentation fault|SIGFPE|caught signal 11|KILLED BY SIGNAL: 11|"
    r"SIGABRT|signal 6\b|Floating point exception|"
    r"Aborted \(core dumped\)|exit code:? ?(139|134)\b",
    re.IGNORECASE,
)

#: The last words of others, after what pw.x itself says.
LAST: tuple[Rule, ...] = (
    anywhere(
        "out_of_walltime",
        r"due to time limit|walltime \S+ exceeded|exceed(s|ed)? (its |the )?(wall ?clock|"
        r"wall ?time|time|run ?time) limit|job killed: wall|TERM_(RUN|CPU)LIMIT|"
        r"wall ?clock limit|walltime (limit )?reached|exceeded.{0,20}\bh_rt\b|"
        r"job hard limit .?(h_rt|h_cpu)|cpu time limit exceeded|cputime \S+ exceeded|"
        r"timeout: sending signal|(hard|maximum|max) wall[ _-]?clock|time limit (reached|expired)|"
        r"maximum (wall ?time|run ?time)",
        "the queue's time limit ended it",
    ),
    anywhere(
        "out_of_walltime",
        r"maximum CPU time exceeded",
        "max_seconds was reached",
        "it stopped cleanly: restart_mode = 'restart' with the same outdir and prefix; more time",
    ),
    anywhere(
        "interrupted",
        r"program stopped by user request|signal received, stopping",
        "it was asked to stop",
        "it stopped cleanly: restart_mode = 'restart' with the same outdir and prefix",
    ),
    anywhere(
        "interrupted",
        r"CANCELLED AT|preempt(ed|ion)|node[ _]fail|exited on signal (9|15|1|2)\b|\(signal 9\)|"
        r"tasks? \S+: (killed|terminated)|exit(ed)?( with)? (code|status):? ?(137|143|9)\b|"
        r"requested job terminate|"
        r"KILLED BY SIGNAL: (9|15)|process (killed|interrupted) \(SIG(TERM|INT)\)|"
        r"caught signal (9|15)|^\s*(killed|terminated)\s*$|"
        r"line \d+:\s+\d+ (killed|terminated)|lost (communication|connection)|"
        r"connection (reset|closed) by (peer|remote)|transport retry count exceeded|"
        r"job aborted due to|TERM_(OWNER|ADMIN|PREEMPT|UNKNOWN)|job deleted|"
        r"node.{0,30}(is down|not responding|crashed)|Job (has been )?(deleted|cancelled)|qdel",
        "stopped from outside",
    ),
)
