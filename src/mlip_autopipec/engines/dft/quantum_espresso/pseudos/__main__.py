from mlip_autopipec.engines.dft.quantum_espresso.pseudos.command import main

raise SystemExit(main())
