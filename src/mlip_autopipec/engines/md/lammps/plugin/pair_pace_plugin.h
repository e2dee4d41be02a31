// What both pair styles of the plugin share: elements, neighbours, forces, virial; only units metal.

#pragma once

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "memory.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "pair.h"
#include "update.h"

#include <ace-evaluator/ace_abstract_basis.h>
#include <ace-evaluator/ace_evaluator.h>

#include <cstring>
#include <exception>
#include <memory>
#include <string>

namespace LAMMPS_NS {

class PairPaceBase : public Pair {
 public:
  PairPaceBase(LAMMPS *lmp, const char *name) : Pair(lmp), style(name)
  {
    restartinfo = 0;
    one_coeff = 1;
    manybody_flag = 1;
    single_enable = 0;
  }

  ~PairPaceBase() override
  {
    if (copymode || !allocated) return;
    memory->destroy(setflag);
    memory->destroy(cutsq);
  }

  void init_style() override
  {
    // the potential is in eV and Å: with other units every number would be wrong, and nothing else would say so
    if (strcmp(update->unit_style, "metal"))
      error->all(FLERR, "Pair style {} is in units metal (eV, Angstrom), and this input has units {}", style,
                 update->unit_style);
    if (atom->tag_enable == 0) error->all(FLERR, "Pair style {} requires atom IDs", style);
    if (force->newton_pair == 0) error->all(FLERR, "Pair style {} requires newton pair on", style);
    neighbor->add_request(this, NeighConst::REQ_FULL);
  }

 protected:
  void allocate()
  {
    if (allocated) return;
    const int ntypes = atom->ntypes;
    memory->create(setflag, ntypes + 1, ntypes + 1, "pair:setflag");
    memory->create(cutsq, ntypes + 1, ntypes + 1, "pair:cutsq");
    map = new int[ntypes + 1];
    allocated = 1;
  }

  // Type -> element of the basis, by the names in pair_coeff.
  void take_elements(const ACEAbstractBasisSet &basis, ACEEvaluator &evaluator, char **names, const char *file)
  {
    evaluator.element_type_mapping.init(atom->ntypes + 1);
    for (int type = 1; type <= atom->ntypes; ++type) {
      const char *name = names[type - 1];
      if (!strcmp(name, "NULL")) continue;
      SPECIES_TYPE species = -1;
      for (int mu = 0; mu < basis.nelements; ++mu)
        if (basis.elements_name[mu] == name) species = mu;
      if (species < 0) error->all(FLERR, "Element {} is not in the ACE potential {}", name, file);
      evaluator.element_type_mapping(type) = species;
    }
  }

  double cutoff(const ACEAbstractBasisSet &basis, ACEEvaluator &evaluator, int i, int j)
  {
    if (setflag[i][j] == 0) error->all(FLERR, "All pair coeffs are not set");
    return basis.radial_functions->cut(evaluator.element_type_mapping(i), evaluator.element_type_mapping(j));
  }

  // Evaluates every atom and adds its energy, forces and virial; then `after` of it.
  template <typename After> void visit(ACEEvaluator &evaluator, After after)
  {
    double **x = atom->x, **f = atom->f;
    int longest = 0;
    for (int ii = 0; ii < list->inum; ++ii)
      if (list->numneigh[list->ilist[ii]] > longest) longest = list->numneigh[list->ilist[ii]];
    evaluator.resize_neighbours_cache(longest);

    for (int ii = 0; ii < list->inum; ++ii) {
      const int i = list->ilist[ii], count = list->numneigh[i];
      int *neighbours = list->firstneigh[i];
      for (int jj = 0; jj < count; ++jj) neighbours[jj] &= NEIGHMASK;
      try {
        evaluator.compute_atom(i, x, atom->type, count, neighbours);
      } catch (const std::exception &failure) {
        error->one(FLERR, "ACE evaluation failed: {}", failure.what());
      }
      for (int jj = 0; jj < count; ++jj) {
        const int j = neighbours[jj];
        double pull[3];
        for (int k = 0; k < 3; ++k) {
          pull[k] = evaluator.neighbours_forces(jj, k);
          f[i][k] += pull[k];
          f[j][k] -= pull[k];
        }
        // per-atom virial: the site energy of i depends on r_ij alone through this pair term
        if (vflag_atom) tally_virial(i, j, x, pull);
      }
      if (eflag_global) eng_vdwl += evaluator.e_atom;
      if (eflag_atom) eatom[i] += evaluator.e_atom;
      after(i);
    }
    if (vflag_fdotr) virial_fdotr_compute();
  }

 private:
  void tally_virial(int i, int j, double **x, const double *pull)
  {
    const double d[3] = {x[i][0] - x[j][0], x[i][1] - x[j][1], x[i][2] - x[j][2]};
    const double v[6] = {d[0] * pull[0], d[1] * pull[1], d[2] * pull[2],
                         d[0] * pull[1], d[0] * pull[2], d[1] * pull[2]};
    for (int k = 0; k < 6; ++k) {
      vatom[i][k] += 0.5 * v[k];
      vatom[j][k] += 0.5 * v[k];
    }
  }

  const char *style;
};

Pair *make_pair_pace_grade(LAMMPS *lmp);

}    // namespace LAMMPS_NS
